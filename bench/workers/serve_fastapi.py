"""The server that people write first: FastAPI before sentence-transformers, one text a call.

``serve_fastapi.py MODEL PORT``; runs in an environment of its own.
"""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

torch.set_num_threads(1)
model = SentenceTransformer(sys.argv[1], device="cpu")
app = FastAPI()


class Body(BaseModel):
    """A body of the OpenAI API."""

    input: str | list[str]
    model: str = ""


@app.get("/health")
def health() -> dict[str, bool]:
    return {"ready": True}


@app.post("/embeddings")
def embeddings(body: Body) -> dict[str, object]:
    texts = [body.input] if isinstance(body.input, str) else body.input
    vectors = model.encode(texts, show_progress_bar=False)
    found = [{"index": i, "embedding": vector.tolist()} for i, vector in enumerate(vectors)]
    return {"object": "list", "data": found}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
