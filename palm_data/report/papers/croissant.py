"""croissant.json of a version: its tables in MLCommons Croissant 1.0, with the Responsible AI vocabulary.

Tables are file objects held to their sha256, and each is a record set with a field for every column, described as
the table describes it. Images, maps and scans are Zarr shards, which Croissant has no words for: they are read with
palm_data or any Zarr v3 reader. There is no `datePublished`: a version holds no time, so that the same contents give
the same bytes. Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html and croissant-rai-spec.html.
"""

import json
from collections.abc import Iterator

import pyarrow as pa

from palm_data.report.papers.facts import ROW_MODELS, ReleaseFacts, stated
from schemas.ids import Sha256

_CONTEXT: dict[str, object] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format",
            "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex",
            "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}  # fmt: skip
_KEYS = {
    "subjects": ("subject_id",), "gestures": ("gesture",), "splits": ("subject_id",), "captures": ("subject_id", "frame"),
    "images": ("subject_id", "frame", "camera_id"), "cameras": ("subject_id", "camera_id"),
    "hands": ("subject_id", "frame"), "quality": ("subject_id", "frame"),
    "keypoints_2d": ("subject_id", "frame", "camera_id", "joint"), "keypoints_3d": ("subject_id", "frame", "joint"),
}  # fmt: skip


def croissant(facts: ReleaseFacts) -> bytes:
    """croissant.json; the same contents and texts give the same bytes."""
    digests = {row.path: (row.sha256, row.bytes) for row in facts.files}
    names = sorted(facts.tables)
    publisher = facts.publisher
    entry: dict[str, object] = {
        "@context": dict(sorted(_CONTEXT.items())),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": f"{facts.title} {facts.version}",
        "description": _description(facts),
        "version": facts.version,
        "license": publisher.license_name or "See LICENSE.",
        **({"url": publisher.url} if publisher.url else {}),
        "inLanguage": list(publisher.languages),
        "keywords": ["hands", "multi-view images", "3D scans", "hand pose", *([facts.origin] if facts.origin else [])],
        "isLiveDataset": False,
        **({"creator": [{"@type": "sc:Organization", "name": name} for name in publisher.authors]} if publisher.authors else {}),
        **({"citeAs": publisher.citation.strip()} if publisher.citation else {}),
        **_responsible_ai(facts),
        "distribution": [_file_object(name, *digests[f"tables/{name}.parquet"]) for name in names],
        "recordSet": [_record_set(name, facts.tables[name].schema) for name in names],
    }  # fmt: skip
    return (json.dumps(entry, indent=1, ensure_ascii=False) + "\n").encode()


def _description(facts: ReleaseFacts) -> str:
    counts = facts.counts
    return (
        f"Multi-view captures of right hands held still: {counts['subjects']} subjects, {counts['captures']} captures, "
        f"{counts['images']} colour images and as many scans as captures{', with fitted hands' if facts.labelled else ''}. This entry "
        "describes the tables; images, maps and scans are Zarr v3 groups in shards/, read with palm_data.open_release. Every file's "
        "sha256 is in files.parquet."
    )


def _responsible_ai(facts: ReleaseFacts) -> dict[str, object]:
    """What the Responsible AI vocabulary asks for; what nobody stated is said to be so."""
    publisher = facts.publisher
    known: dict[str, object] = {
        "rai:dataCollection": stated(publisher.collection),
        "rai:dataCollectionType": ["Direct measurement"] if facts.origin == "real" else None,
        "rai:dataCollectionMissingData": f"Missing images: {facts.tables['images'].num_rows - facts.counts['images']}; "
        "`present` in the images table is false, and their pixels are zero.",
        "rai:dataCollectionRawData": "Digests of the raw files are in the captures and images tables.",
        "rai:dataPreprocessingProtocol": ["Images turned to a common orientation and undistorted; maps drawn from scans."],
        "rai:machineAnnotationTools": ["Keypoint network, triangulation, hand model registration"] if facts.labelled else None,
        "rai:dataBiases": [stated(publisher.known_bias), "Right hands only. DATASHEET.md counts people by band."],
        "rai:dataUseCases": [stated(publisher.uses)],
        "rai:dataLimitations": [stated(publisher.out_of_scope)],
        "rai:dataSocialImpact": None,
        "rai:personalSensitiveInformation": ["Sex", "Age band", "Height band", "Skin tone", "Images and scans of hands"],
        "rai:dataReleaseMaintenancePlan": stated(publisher.maintenance),
    }  # fmt: skip
    return {name: value for name, value in known.items() if value is not None}


def _file_object(name: str, sha256: Sha256, size: int) -> dict[str, object]:
    path = f"tables/{name}.parquet"
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": f"{name}.parquet",
        "description": _sentence(ROW_MODELS[name].__doc__) if name in ROW_MODELS else name,
        "contentUrl": path,
        "contentSize": f"{size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": sha256,
    }


def _record_set(name: str, schema: pa.Schema) -> dict[str, object]:
    keys = [{"@id": f"{name}/{column}"} for column in _KEYS.get(name, ())]
    record_set: dict[str, object] = {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": _sentence(ROW_MODELS[name].__doc__) if name in ROW_MODELS else name,
        "field": list(_fields(name, schema)),
    }
    return record_set | ({"key": keys} if keys else {})


def _fields(table: str, schema: pa.Schema) -> Iterator[dict[str, object]]:
    for column in schema:
        described = (column.metadata or {}).get(b"description", b"").decode()
        repeated = pa.types.is_list(column.type)
        yield {
            "@type": "cr:Field",
            "@id": f"{table}/{column.name}",
            "name": column.name,
            "description": described or column.name.replace("_", " "),
            "dataType": _data_type(column.type.value_type if repeated else column.type),
            **({"repeated": True} if repeated else {}),
            "source": {"fileObject": {"@id": f"tables/{table}.parquet"}, "extract": {"column": column.name}},
        }


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"


def _sentence(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]
