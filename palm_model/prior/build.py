"""PalmNet made of its parts, as settings say."""

import torch

from palm_data.hand.model import HandModel
from palm_model.prior.canonical import canonical_box
from palm_model.prior.codes import CodeBook, Conditioning, PoseEncoder
from palm_model.prior.density import LaplaceDensity
from palm_model.prior.encoding import HashEncoding
from palm_model.prior.fields import GeometryField, MaterialField, RadianceField
from palm_model.prior.network import PalmNet
from palm_model.prior.pbr_branch import PbrBranch
from palm_model.prior.shadow_mesh import ShadowMesh
from schemas.prior import PriorSettings
from schemas.prior_pbr_training import PbrTrainingSettings


def build_palm_net(settings: PriorSettings, model: HandModel, subjects: int) -> PalmNet:
    """The network before its first step: a function of the settings, the hand model's cube and the number of people."""
    random = torch.Generator().manual_seed(settings.seed)
    fields, box = settings.fields, canonical_box(model)
    radiance = RadianceField(fields, HashEncoding(settings.radiance_encoding, generator=random), generator=random)
    return PalmNet(
        GeometryField(
            fields,
            HashEncoding(settings.geometry_encoding, generator=random),
            half_side=box.half_side,
            generator=random,
        ),
        radiance,
        MaterialField(fields, radiance, generator=random),
        LaplaceDensity(fields.beta_initial, fields.beta_least),
        Conditioning(CodeBook(fields, subjects, generator=random), PoseEncoder(fields.pose_code, generator=random)),
        box=box,
        settings=settings.volume,
        light=None if settings.pbr is None else build_pbr_branch(settings.pbr, model, subjects, seed=settings.seed),
        mixed_precision=settings.training.mixed_precision,
    )


def build_pbr_branch(settings: PbrTrainingSettings, model: HandModel, subjects: int, *, seed: int) -> PbrBranch:
    """The physically based branch in neutral light, with shadows by the hand model's mesh if its settings say so."""
    mesh = ShadowMesh(model.v_template, model.faces)
    return PbrBranch(settings, subjects, mesh, generator=torch.Generator().manual_seed(seed))
