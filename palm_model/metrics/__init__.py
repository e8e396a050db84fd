"""How near a picture is to the truth: PSNR, SSIM and perceptual distance on stated regions."""
