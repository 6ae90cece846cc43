"""Operations: what may be asked of the service, as a table; the description is made of it."""

from featx.serve.describe.operation import Operation, Parameter
from featx.serve.routes.browsing import ListQuery
from featx.serve.routes.classify import ClassifyBody, SearchBody
from featx.serve.routes.examples import OneExample

HTML, TEXT, JPEG = "text/html", "text/plain", "image/jpeg"

ASKED = (400, 408, 413, 415, 422, 429, 500, 503)
"""Statuses of what takes items in a body."""

ASK, MODELS, GALLERY = "Ask", "Models", "Gallery"
INFERENCE, RUN = "Open Inference Protocol", "Operate"

GROUPS = {
    ASK: "Classify, search and embed. An input is one item or many; an item that fails is an "
    "error among the results, and fails alone.",
    MODELS: "What is served.",
    GALLERY: "Look into a gallery, teach it and make it forget. A change is on the disk, and "
    "found by the next request, once it is answered.",
    INFERENCE: "Version 2, as KServe and Triton speak it. Tensors are JSON, or bytes that follow "
    "it: then the header Inference-Header-Content-Length says where the JSON ends, and "
    "binary_data_size how many bytes a tensor has; texts and files among them (BYTES) have their "
    "length before them, four bytes, little-endian. Files in JSON are in base64. All but "
    "embedding is told unless outputs are named. Its errors are of the form "
    '{"error": "message"}.',
    RUN: "For those who run the service.",
}

_NAME = Parameter(name="name", about="Of the model.", place="path", is_required=True)
_VERSION = Parameter(
    name="version", about="Of the model: there is one.", place="path", is_required=True
)
_LABEL = "Only items that have this label."
_MODEL_PATH = "/v2/models/{name}"
_VERSION_PATH = _MODEL_PATH + "/versions/{version}"

_READY = (503,)
_INFER = (400, 404, 408, 413, 415, 429, 500, 503)

OPERATIONS = (
    Operation(
        name="classify",
        method="post",
        path="/v1/classify",
        group=ASK,
        summary="Give items a label, tags or values",
        about="A head tells calibrated probabilities and a conformal set, a gallery the "
        "neighbours that voted. What the query says comes before what the body says.",
        body="ClassifyBody",
        query=ClassifyBody,
        takes_files=True,
        reply="ClassifyReply",
        refuses=(404, 409, *ASKED),
        example="input",
        needs="labels",
    ),
    Operation(
        name="search",
        method="post",
        path="/v1/search",
        group=ASK,
        summary="Find the nearest items of the gallery",
        about="What the query says comes before what the body says.",
        body="SearchBody",
        query=SearchBody,
        takes_files=True,
        reply="SearchReply",
        refuses=(404, 409, *ASKED),
        example="input",
        needs="gallery",
    ),
    Operation(
        name="embeddings",
        method="post",
        path="/v1/embeddings",
        group=ASK,
        summary="Give the vectors of items",
        about="As the OpenAI API has it, so that its clients work: one item that fails, fails "
        "the request.",
        body="EmbeddingsBody",
        reply="EmbeddingsReply",
        refuses=(404, *ASKED),
        example="embed",
    ),
    Operation(
        name="models",
        method="get",
        path="/v1/models",
        group=MODELS,
        summary="List what is served",
        reply="ModelsReply",
    ),
    Operation(
        name="model",
        method="get",
        path="/v1/models/{name}",
        group=MODELS,
        summary="Describe what is served",
        parameters=(_NAME,),
        reply="ModelReply",
        refuses=(404,),
    ),
    Operation(
        name="list_examples",
        method="get",
        path="/v1/examples",
        group=GALLERY,
        summary="List items, a page at a time",
        query=ListQuery,
        reply="ExamplesPage",
        refuses=(404, 409, 422, 503),
        needs="gallery",
    ),
    Operation(
        name="teach",
        method="post",
        path="/v1/examples",
        group=GALLERY,
        summary="Teach examples",
        about="An example without a label is found, but has no vote.",
        body="ExamplesBody",
        query=OneExample,
        takes_files=True,
        reply="AddedReply",
        status=201,
        refuses=(409, *ASKED),
        example="teach",
        needs="teacher",
    ),
    Operation(
        name="relabel",
        method="patch",
        path="/v1/examples",
        group=GALLERY,
        summary="Give an item another label",
        body="RelabelBody",
        reply="RelabelledReply",
        refuses=(404, 409, *ASKED),
        example="relabel",
        needs="teacher",
    ),
    Operation(
        name="forget",
        method="delete",
        path="/v1/examples",
        group=GALLERY,
        summary="Remove items, all or none",
        parameters=(
            Parameter(
                name="id",
                about="Of an item; may be given more than once.",
                schema={"type": "array", "items": {"type": "string"}, "minItems": 1},
                is_required=True,
            ),
        ),
        reply="RemovedReply",
        refuses=(404, 409, 413, 422, 429, 503),
        needs="teacher",
    ),
    Operation(
        name="thumbnail",
        method="get",
        path="/v1/thumbnail",
        group=GALLERY,
        summary="Give the small picture of an item",
        parameters=(Parameter(name="id", about="Of the item.", is_required=True),),
        media=JPEG,
        refuses=(404, 409, 422, 503),
        needs="pictures",
    ),
    Operation(
        name="map",
        method="get",
        path="/v1/map",
        group=GALLERY,
        summary="Give the gallery in two dimensions",
        about="It is computed once it is asked for; ask again until it is ready.",
        reply="MapReply",
        refuses=(409, 503),
        needs="gallery",
    ),
    Operation(
        name="v2",
        method="get",
        path="/v2",
        group=INFERENCE,
        summary="Describe the server",
        reply="ServerReply",
    ),
    Operation(
        name="v2_live",
        method="get",
        path="/v2/health/live",
        group=INFERENCE,
        summary="Say that the server runs",
        reply="LiveReply",
        refuses=_READY,
        is_open=True,
    ),
    Operation(
        name="v2_ready",
        method="get",
        path="/v2/health/ready",
        group=INFERENCE,
        summary="Say whether the server may be asked",
        reply="ReadyReply",
        refuses=_READY,
        is_open=True,
    ),
    Operation(
        name="v2_model",
        method="get",
        path=_MODEL_PATH,
        group=INFERENCE,
        summary="Describe the inputs and outputs of the model",
        parameters=(_NAME,),
        reply="ModelInfo",
        refuses=(404,),
    ),
    Operation(
        name="v2_version",
        method="get",
        path=_VERSION_PATH,
        group=INFERENCE,
        summary="Describe a version of the model",
        parameters=(_NAME, _VERSION),
        reply="ModelInfo",
        refuses=(404,),
    ),
    Operation(
        name="v2_model_ready",
        method="get",
        path=_MODEL_PATH + "/ready",
        group=INFERENCE,
        summary="Say whether the model may be asked",
        parameters=(_NAME,),
        reply="ModelReady",
        refuses=(404, *_READY),
    ),
    Operation(
        name="v2_version_ready",
        method="get",
        path=_VERSION_PATH + "/ready",
        group=INFERENCE,
        summary="Say whether a version of the model may be asked",
        parameters=(_NAME, _VERSION),
        reply="ModelReady",
        refuses=(404, *_READY),
    ),
    Operation(
        name="v2_infer",
        method="post",
        path=_MODEL_PATH + "/infer",
        group=INFERENCE,
        summary="Ask the model",
        about="One tensor holds the items; one that fails, fails the request.",
        parameters=(_NAME,),
        body="InferBody",
        reply="InferReply",
        refuses=_INFER,
        example="infer",
    ),
    Operation(
        name="v2_version_infer",
        method="post",
        path=_VERSION_PATH + "/infer",
        group=INFERENCE,
        summary="Ask a version of the model",
        about="One tensor holds the items; one that fails, fails the request.",
        parameters=(_NAME, _VERSION),
        body="InferBody",
        reply="InferReply",
        refuses=_INFER,
        example="infer",
    ),
    Operation(
        name="live",
        method="get",
        path="/health/live",
        group=RUN,
        summary="Say that the service runs",
        reply="LiveReply",
        refuses=_READY,
        is_open=True,
    ),
    Operation(
        name="ready",
        method="get",
        path="/health/ready",
        group=RUN,
        summary="Say whether the service may be asked",
        about="It may once an item was answered, until it is about to end: where nobody asks, it "
        "asks itself.",
        reply="HealthReply",
        refuses=_READY,
        is_open=True,
    ),
    Operation(
        name="metrics",
        method="get",
        path="/metrics",
        group=RUN,
        summary="Count what was done, for Prometheus",
        media=TEXT,
    ),
    Operation(
        name="openapi",
        method="get",
        path="/openapi.json",
        group=RUN,
        summary="Describe all this for programs",
        about="It tells what is served, and nothing of what that holds where a key is asked for.",
        is_open=True,
    ),
    Operation(
        name="docs",
        method="get",
        path="/docs",
        group=RUN,
        summary="Describe all this for people",
        media=HTML,
        is_open=True,
    ),
)
