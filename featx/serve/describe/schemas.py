"""Schemas: what JSON of requests and replies looks like, made of the structs that decode it.

What a struct cannot say is put in for the thing that is served: how wide its vectors are, whether
it takes texts or images, what it is called.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from featx.serve.describe.galleryreplies import (
    AddedResult,
    ExamplesPage,
    MapReply,
    RelabelledReply,
    RemovedReply,
)
from featx.serve.describe.inferreplies import (
    InferFailure,
    InferReply,
    ModelInfo,
    ModelReady,
    ServerReply,
)
from featx.serve.describe.replies import (
    ClassResult,
    EmbeddingsReply,
    Failure,
    FoundResult,
    HealthReply,
    ItemFailure,
    LiveReply,
    ModelReply,
    ModelsReply,
    ReadyReply,
    TagResult,
    ValueResult,
    VoteResult,
)
from featx.serve.routes.classify import ClassifyBody, SearchBody
from featx.serve.routes.embeddings import EmbeddingsBody, widths_of
from featx.serve.routes.examples import RelabelBody
from featx.serve.routes.infer import VERSION
from featx.serve.routes.inferbody import InferBody
from featx.serve.routes.newexamples import ExamplesBody
from featx.serve.routes.signature import inputs_of, outputs_of
from featx.serve.routes.wire import FIELD_OF, LARGEST, Item
from featx.serve.settings import ServeSettings
from featx.serve.thing import Thing

Schema = dict[str, Any]

_STRUCTS = (
    ClassifyBody,
    SearchBody,
    EmbeddingsBody,
    ExamplesBody,
    RelabelBody,
    InferBody,
    ClassResult,
    TagResult,
    ValueResult,
    VoteResult,
    FoundResult,
    ItemFailure,
    EmbeddingsReply,
    ModelReply,
    ModelsReply,
    ExamplesPage,
    AddedResult,
    RemovedReply,
    RelabelledReply,
    MapReply,
    LiveReply,
    ReadyReply,
    HealthReply,
    Failure,
    ServerReply,
    ModelInfo,
    ModelReady,
    InferReply,
    InferFailure,
)

_RESULT = {
    "classify": ClassResult,
    "multilabel": TagResult,
    "regress": ValueResult,
    "gallery": VoteResult,
    "backbone": VoteResult,
}
"""Task of a head, or kind → what ``/v1/classify`` says of an item."""

_NULL = {"type": "null"}

_ATTRIBUTE = re.compile(r"^(\S.*?)(?: : .*)?\n((?:    .*\n?)+)", re.MULTILINE)
"""Names of an attribute in a docstring, and what is said of it."""


def ref(name: str) -> Schema:
    """Return a reference to a schema of this document."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas_of(thing: Thing, settings: ServeSettings) -> dict[str, Schema]:
    """Return the schemas by name, as they are for a thing."""
    place = "#/components/schemas/{name}"
    (item, *_), found = msgspec.json.schema_components((Item, *_STRUCTS), ref_template=place)
    components = {name: described(schema) for name, schema in found.items()}
    components["AnyItem"] = {"description": _ANY, **item}
    components |= _items(thing, settings)
    kind = thing.head.task if thing.head is not None else thing.kind
    components["ClassifyReply"] = _results(_RESULT[kind].__name__, named=True)
    components["SearchReply"] = _results("FoundResult", named=True)
    components["AddedReply"] = _results("AddedResult", named=False)
    _fit(components, thing, settings)
    return components


def used(schemas: Mapping[str, Schema], paths: object) -> dict[str, Schema]:
    """Return the schemas that operations, and what these refer to, are made of."""
    found = dict[str, Schema]()
    waiting = [paths]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found[name] = schemas[name]
                waiting.append(schemas[name])
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def described(schema: Schema) -> Schema:
    """Return the schema of a struct, with what its docstring says of fields at the fields."""
    text = inspect.cleandoc(schema.get("description", ""))
    text, _, attributes = text.partition("\n\nAttributes\n----------\n")
    told = {
        name: " ".join(said.split())
        for names, said in _ATTRIBUTE.findall(attributes)
        for name in names.split(", ")
    }
    properties = {
        name: {"description": told[name], **field} if name in told else field
        for name, field in schema.get("properties", {}).items()
    }
    return {**schema, "description": " ".join(text.split()), "properties": properties}


def _items(thing: Thing, settings: ServeSettings) -> dict[str, Schema]:
    """Return what an input may be: one item, or an array of which one at least is of use."""
    vector: Schema = {
        "type": "array",
        "description": "An embedding of the model.",
        "items": {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
        "minItems": thing.backbone.dim,
        "maxItems": thing.backbone.dim,
    }
    if _needs_direction(thing):
        vector["contains"] = {"anyOf": [{"minimum": SMALLEST}, {"maximum": -SMALLEST}]}
    field, plain = FIELD_OF[thing.modality], vector
    objects = [_object("vector", vector)]
    if field != "vector":
        plain = _PLAIN[field]
        objects.insert(0, _object(field, plain))
    many = {"type": "array", "minItems": 1, "maxItems": settings.items}
    listed = {**many, "items": ref("AnyItem"), "contains": ref("Item")}
    asked = [plain, *objects] if field == "vector" else [plain, vector, *objects]
    openai = [plain, *objects]
    return {
        "Item": {"description": _ITEM[field], "anyOf": asked},
        "Input": {"description": _INPUT, "anyOf": [ref("Item"), listed]},
        "EmbeddingsInput": {
            "description": "One item or many; one that fails, fails the request.",
            "anyOf": [*openai, {**many, "items": {"anyOf": openai}}],
        },
    }


def _needs_direction(thing: Thing) -> bool:
    """Return whether neighbours are found by the cosine, which a vector of zeros has none of."""
    if thing.head is not None:
        return thing.head.kind == "knn"
    return thing.gallery is not None and thing.held.metric == "cosine"


SMALLEST = 1e-30
"""A number that is not zero, in float32 either."""

_PLAIN: dict[str, Schema] = {
    "text": {"type": "string", "minLength": 1, "pattern": r"\S"},
    "image": {"type": "string", "description": "A file in base64, or a data URI.", "minLength": 4},
    "audio": {"type": "string", "description": "A file in base64, or a data URI.", "minLength": 4},
}

_ITEM = {
    "text": "A text; or an embedding of the model, as numbers or, in an object, in base64.",
    "image": "An image in base64; or an embedding of the model, as numbers or in base64.",
    "audio": "A sound in base64; or an embedding of the model, as numbers or in base64.",
    "vector": "An embedding of the model, as numbers or as little-endian float32 in base64.",
}

_ANY = "An item in any form; one that the model cannot take is an error."

_INPUT = "One item, or an array of items; those that fail are errors among the results."


def _object(field: str, schema: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {field: schema},
        "required": [field],
        "additionalProperties": False,
    }


def _results(name: str, *, named: bool) -> Schema:
    """Return the schema of a reply with one result an item, in order."""
    results = {"type": "array", "items": {"anyOf": [ref(name), ref("ItemFailure")]}}
    count: Schema = {"type": "integer", "minimum": 0}
    others: Schema = {"model": {"type": "string"}} if named else {"added": count, "items": count}
    return {
        "type": "object",
        "description": "One result for each item, in order; an error where it failed.",
        "properties": {**others, "results": results},
        "required": [*others, "results"],
        "additionalProperties": False,
    }


def _fit(components: Mapping[str, Schema], thing: Thing, settings: ServeSettings) -> None:
    """Put in what a struct cannot say."""
    name, backbone = thing.name, thing.backbone.manifest.name
    for body in ("ClassifyBody", "SearchBody"):
        properties = components[body]["properties"]
        properties["input"] = ref("Input")
        properties["model"] |= {"anyOf": [{"enum": [name]}, _NULL]}
    if thing.gallery is None:
        for body in ("ClassifyBody", "InferParameters"):
            components[body]["properties"]["k"] |= {"anyOf": [_NULL]}
    embeddings = components["EmbeddingsBody"]["properties"]
    embeddings["input"] = ref("EmbeddingsInput")
    embeddings["model"] |= {"enum": sorted({name, backbone})}
    embeddings["dimensions"] |= {"anyOf": [{"enum": widths_of(thing)}, _NULL]}
    _fit_examples(components, settings)
    _fit_tensors(components, thing)


def _fit_examples(components: Mapping[str, Schema], settings: ServeSettings) -> None:
    example = components["NewExample"]
    fields = example["properties"]
    good = {**example, "properties": {**fields, "input": ref("Item")}}
    fields["input"] = ref("AnyItem")
    examples = components["ExamplesBody"]["properties"]["examples"]
    examples |= {"minItems": 1, "maxItems": settings.items, "contains": good}


def _fit_tensors(components: Mapping[str, Schema], thing: Thing) -> None:
    known = inputs_of(thing)
    tensor = components["InputTensor"]["properties"]
    tensor["name"] |= {"enum": list(known)}
    tensor["datatype"] |= {
        "enum": sorted({kind for each in known.values() for kind in each.datatypes})
    }
    tensor["shape"] |= {"minItems": 1, "maxItems": 2, "items": {"type": "integer", "minimum": 1}}
    components["AskedOutput"]["properties"]["name"] |= {"enum": list(outputs_of(thing))}
    components["InferReply"]["properties"]["model_version"] |= {"enum": [VERSION]}
