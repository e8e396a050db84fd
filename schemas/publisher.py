"""What only the publisher of a release can say: who they are, how people were asked, what the data may be used for.

Nothing here is guessed. A text that is not given is printed as "Not stated." in every document of a version.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]

Origin = Literal["real", "synthetic"]


class PublisherTexts(BaseModel):
    """Texts for a version's card, datasheet, catalogue entry and report."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    title: Annotated[Text, Field(description="Name of the data set.")] = "PALM"
    authors: Annotated[tuple[Text, ...], Field(description="Who made the data: people or institutions.")] = ()
    contact: Annotated[Text | None, Field(description="Where to write to: questions, faults, withdrawal.")] = None
    url: Annotated[Text | None, Field(description="The data set's home page.")] = None
    citation: Annotated[Text | None, Field(description="How to cite the data: BibTeX or plain text.")] = None
    license_name: Annotated[Text | None, Field(description="Short name or URL of the terms in LICENSE.")] = None
    languages: Annotated[
        tuple[Text, ...], Field(min_length=1, description="Languages of the descriptions, BCP 47 codes.")
    ] = ("en",)
    origin: Annotated[
        Origin | None,
        Field(description="Whether real people were captured; None: not stated, unless the rig says it is simulated."),
    ] = None
    motivation: Annotated[Text | None, Field(description="What the data was made for, and by whom it was paid.")] = None
    collection: Annotated[
        Text | None, Field(description="How people were found and captured, when, by whom, and how paid.")
    ] = None
    ethics_review: Annotated[Text | None, Field(description="Who reviewed the collection, under which number.")] = None
    consent: Annotated[
        Text | None, Field(description="What people agreed to, how they were asked, and how they may withdraw.")
    ] = None
    known_bias: Annotated[Text | None, Field(description="Bias that the tables do not show.")] = None
    uses: Annotated[Text | None, Field(description="What the data is meant for, and has been used for.")] = None
    out_of_scope: Annotated[Text | None, Field(description="What the data must not be used for.")] = None
    distribution: Annotated[Text | None, Field(description="Where and to whom the data is given.")] = None
    maintenance: Annotated[Text | None, Field(description="Who keeps the data, for how long; how faults are told.")] = (
        None
    )
