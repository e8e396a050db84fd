"""Raw sessions as the rig delivers them: layout, calibration files, images, scans, validation and quarantine."""
