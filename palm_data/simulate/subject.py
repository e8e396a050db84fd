"""A simulated person: bands, shape, identity, relief and skin, all from (seed, number)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.simulate.demographics import Person, draw_person
from palm_data.simulate.detail import Relief, draw_relief
from palm_data.simulate.identity import Identity, draw_identity
from palm_data.simulate.skin import SkinTextures, skin_textures
from palm_data.simulate.skin_traits import SkinTraits, draw_skin
from palm_data.simulate.template import CaptureTemplate, capture_template
from schemas.capture import Subject

_SHAPE_STREAM, _IDENTITY_STREAM, _SKIN_STREAM, _RELIEF_STREAM = 21, 22, 23, 24
_BETA_SPREAD = 0.7
_BETA_LIMIT = 2.5


@dataclass(frozen=True, eq=False)
class SimulatedSubject:
    """One person of the cohort."""

    seed: int
    number: int
    person: Person
    betas: Float[ndarray, "10"]
    """Shape in the hand model's space, standard deviations."""
    identity: Identity
    """What the model's shape space cannot say."""
    relief: Relief
    skin: SkinTraits

    @property
    def subject_id(self) -> str:
        """The number as four digits."""
        return self.person.subject.subject_id

    @property
    def row(self) -> Subject:
        """The person's line of `subjects.csv`."""
        return self.person.subject

    def textures(self, size: int) -> SkinTextures:
        """The person's skin, `size`² texels in the layout of the captured mesh; made anew at each call."""
        return skin_textures(self.skin, self.relief, size)


def make_subject(seed: int, number: int) -> SimulatedSubject:
    """The person with a number (from 1) in the cohort of a seed, the same whatever the cohort's size."""
    template = capture_template()
    person = draw_person(seed, number)
    return SimulatedSubject(
        seed=seed,
        number=number,
        person=person,
        betas=_draw_betas(template, person.hand_length_mm, np.random.default_rng([seed, _SHAPE_STREAM, number])),
        identity=draw_identity(template, np.random.default_rng([seed, _IDENTITY_STREAM, number])),
        relief=draw_relief(person, np.random.default_rng([seed, _RELIEF_STREAM, number])),
        skin=draw_skin(person, np.random.default_rng([seed, _SKIN_STREAM, number])),
    )


def _draw_betas(template: CaptureTemplate, hand_length_mm: float, rng: np.random.Generator) -> ndarray:
    """Random shape whose first component is then set to give the hand its length."""
    betas = np.clip(_BETA_SPREAD * rng.standard_normal(10), -_BETA_LIMIT, _BETA_LIMIT)
    betas[0] = 0.0
    model = template.model
    reach = -model.joint_regressor[0].astype(np.float64)
    reach[model.tip_vertex_ids[2]] += 1.0
    span = template.anatomy.distal @ (reach @ model.v_template)
    slopes = template.anatomy.distal @ np.einsum("v,vik->ik", reach, model.shapedirs)
    wanted = hand_length_mm * 1e-3
    betas[0] = np.clip((wanted - span - slopes @ betas) / slopes[0], -_BETA_LIMIT, _BETA_LIMIT)
    return betas
