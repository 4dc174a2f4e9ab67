"""Skip-gram with negative sampling (word2vec) in NumPy, on a few sentences, with the negative samples drawn beforehand.

The gradient is written by hand. A word may be drawn more than once, so its gradients have to be added up by np.add.at;
the planted mistake uses +=, which keeps only the last one of a word that is repeated.
"""

import numpy as np

import gradcheck_fast as gf

TEXT = "the cat sat on the mat and the dog sat on the cat while the mat lay on the floor"
WINDOW, NEGATIVES, DIMENSIONS = 2, 4, 3

words = TEXT.split()
vocabulary = sorted(set(words))
index = {word: i for i, word in enumerate(vocabulary)}
corpus = [index[word] for word in words]

pairs = []
for position, center in enumerate(corpus):
    for offset in range(-WINDOW, WINDOW + 1):
        if offset != 0 and 0 <= position + offset < len(corpus):
            pairs.append((center, corpus[position + offset]))
centers, contexts = np.array(pairs).T

counts = np.bincount(corpus, minlength=len(vocabulary)) ** 0.75
negatives = np.random.default_rng(0).choice(len(vocabulary), size=(len(pairs), NEGATIVES), p=counts / counts.sum())


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def loss(params):
    V, U = params["V"], params["U"]
    total = 0.0
    for n in range(len(pairs)):
        v = V[centers[n]]
        total -= np.log(sigmoid(np.dot(U[contexts[n]], v)))
        total -= np.sum(np.log(sigmoid(-U[negatives[n]].dot(v))))
    return total / len(pairs)


def backprop(params, mistake=False):
    V, U = params["V"], params["U"]
    dV, dU = np.zeros_like(V), np.zeros_like(U)
    for n in range(len(pairs)):
        c, o, neg = centers[n], contexts[n], negatives[n]
        v = V[c]
        d_pos = sigmoid(U[o] @ v) - 1
        d_neg = sigmoid(U[neg] @ v)
        dV[c] += d_pos * U[o] + d_neg @ U[neg]
        dU[o] += d_pos * v
        if mistake:
            dU[neg] += np.outer(d_neg, v)
        else:
            np.add.at(dU, neg, np.outer(d_neg, v))
    return {"V": dV / len(pairs), "U": dU / len(pairs)}


def init_params(seed=1):
    rng = np.random.default_rng(seed)
    return {
        "V": rng.normal(size=(len(vocabulary), DIMENSIONS)),
        "U": rng.normal(size=(len(vocabulary), DIMENSIONS)),
    }


def main():
    params = init_params()
    print(f"{len(vocabulary)} words, {len(pairs)} pairs, {NEGATIVES} negative samples for each.\n")
    right = gf.gradcheck(loss, backprop, params)
    print(right)
    print("\nNow with a mistake planted: of a word that is drawn twice, one gradient is lost.\n")
    wrong = gf.gradcheck(loss, lambda p: backprop(p, mistake=True), params)
    print(wrong)
    return right, wrong


if __name__ == "__main__":
    main()
