"""Answers to `pairwise_sq_dist` and `normalise_distance`."""

from __future__ import annotations

import math

import numpy as np
import torch
from answers import right, wrong
from scipy.spatial import distance

PAIRS = "pairwise_sq_dist"
SQUASH = "normalise_distance"


@right(PAIRS)
def pairs_by_broadcasting(query, reference):
    return (query[:, None] - reference[None]).square().sum(-1)


@right(PAIRS)
def pairs_by_einsum(query, reference):
    products = torch.einsum("nd,md->nm", query, reference)
    return query.square().sum(1)[:, None] + reference.square().sum(1)[None] - 2 * products


@right(PAIRS)
def pairs_by_loops(query, reference):
    table = torch.empty(len(query), len(reference))
    for n in range(len(query)):
        for m in range(len(reference)):
            table[n, m] = sum((query[n, d] - reference[m, d]) ** 2 for d in range(query.shape[1]))
    return table


@right(PAIRS)
def pairs_by_cdist(query, reference):
    return torch.cdist(query, reference).pow(2)


@right(PAIRS)
def pairs_by_scipy(query, reference):
    return torch.from_numpy(distance.cdist(query.numpy(), reference.numpy(), "sqeuclidean"))


@right(PAIRS)
def pairs_by_rows(query, reference):
    return torch.stack([((reference - q) ** 2).sum(dim=1) for q in query])


@right(PAIRS)
def pairs_by_expanding(query, reference):
    n, m, d = len(query), len(reference), query.size(1)
    return (query.unsqueeze(1).expand(n, m, d) - reference.unsqueeze(0).expand(n, m, d)).norm(dim=-1) ** 2


@right(PAIRS)
def pairs_by_lists(query, reference):
    rows = [[sum((a - b) ** 2 for a, b in zip(q, r, strict=True)) for r in reference.tolist()] for q in query.tolist()]
    return torch.tensor(rows)


@wrong(PAIRS, "not squared distances")
def pairs_distance(query, reference):
    return torch.cdist(query, reference)


@wrong(PAIRS, "root")
def pairs_root(query, reference):
    return torch.sqrt(((query[:, None, :] - reference[None, :, :]) ** 2).sum(2))


@wrong(PAIRS, "means")
def pairs_mean(query, reference):
    return ((query[:, None, :] - reference) ** 2).mean(dim=-1)


@wrong(PAIRS, "swapped")
def pairs_transposed(query, reference):
    return ((query[None] - reference[:, None]) ** 2).sum(-1)


@wrong(PAIRS, r"\|difference\|")
def pairs_manhattan(query, reference):
    return torch.cdist(query, reference, p=1.0)


@wrong(PAIRS, "not summed")
def pairs_unsummed(query, reference):
    return (query.unsqueeze(1) - reference.unsqueeze(0)) ** 2


@wrong(PAIRS, "wrong axis")
def pairs_first_axis(query, reference):
    return ((query[:, None] - reference[None]) ** 2).sum(0)


@wrong(PAIRS, "q·r")
def pairs_without_cross_term(query, reference):
    return (query**2).sum(1).unsqueeze(1) + (reference**2).sum(1).unsqueeze(0)


@wrong(PAIRS, "q·r")
def pairs_single_cross_term(query, reference):
    return (query**2).sum(1, keepdim=True) + (reference**2).sum(1) - query @ reference.T


@wrong(PAIRS, "sign|added")
def pairs_plus_cross_term(query, reference):
    return (query**2).sum(1, keepdim=True) + (reference**2).sum(1) + 2 * query.mm(reference.t())


@wrong(PAIRS, "similarity")
def pairs_products(query, reference):
    return query @ reference.T


@wrong(PAIRS, "cosine|directions")
def pairs_cosine(query, reference):
    return 1 - torch.nn.functional.cosine_similarity(query[:, None], reference[None], dim=-1)


@wrong(PAIRS, "RuntimeError.*must match")
def pairs_of_partners(query, reference):
    return ((query - reference) ** 2).sum(1)


@wrong(PAIRS, "before they are squared")
def pairs_square_of_sum(query, reference):
    return (query[:, None] - reference).sum(-1) ** 2


@wrong(PAIRS, "squared twice|square of")
def pairs_fourth_power(query, reference):
    return (torch.cdist(query, reference) ** 2) ** 2


@wrong(PAIRS, "got a list")
def pairs_as_lists(query, reference):
    return [[float(((q - r) ** 2).sum()) for r in reference] for q in query]


@wrong(PAIRS, "numpy array")
def pairs_as_array(query, reference):
    return ((query.numpy()[:, None] - reference.numpy()[None]) ** 2).sum(-1)


@wrong(PAIRS, "int64|type")
def pairs_as_integers(query, reference):
    return ((query[:, None] - reference) ** 2).sum(-1).long()


@wrong(PAIRS, "float16|type")
def pairs_in_half(query, reference):
    return ((query[:, None] - reference) ** 2).sum(-1).half()


@wrong(PAIRS, "largest")
def pairs_chebyshev(query, reference):
    return (query[:, None] - reference).abs().max(dim=-1).values ** 2


@wrong(PAIRS, "writes into its argument `query`")
def pairs_in_place(query, reference):
    norms = query.pow_(2).sum(1)
    return norms[:, None] + reference.square().sum(1)


@wrong(PAIRS, "library")
def pairs_of_library(query, reference):
    import feelvos_lab.model.matching as known

    return getattr(known, "pairwise_" + "sq_dist")(query, reference)


@wrong(PAIRS, "itself")
def pairs_with_itself(query, reference):
    return ((query[:, None] - query[None]) ** 2).sum(-1)


@wrong(PAIRS, "IndexError")
def pairs_beyond(query, reference):
    table = torch.zeros(len(query), len(reference))
    for n in range(len(query)):
        for m in range(1, len(reference) + 1):
            table[n, m] = ((query[n] - reference[m]) ** 2).sum()
    return table


@wrong(PAIRS, "query .* is wrong|right and all|only")
def pairs_but_the_last(query, reference):
    table = torch.zeros(len(query), len(reference))
    for n in range(len(query) - 1):
        for m in range(len(reference)):
            table[n, m] = ((query[n] - reference[m]) ** 2).sum()
    return table


@right(SQUASH)
def squash_by_sigmoid(sq):
    return 2 * torch.sigmoid(sq) - 1


@right(SQUASH)
def squash_by_definition(sq):
    return 1 - 2 / (1 + sq.exp())


@right(SQUASH)
def squash_by_tanh(sq):
    return torch.tanh(0.5 * sq)


@right(SQUASH)
def squash_by_negative_exponent(sq):
    e = torch.exp(-sq)
    return (1 - e) / (1 + e)


@right(SQUASH)
def squash_by_expm1(sq):
    return -torch.expm1(-sq) / (1 + torch.exp(-sq))


@right(SQUASH)
def squash_by_softmax(sq):
    two = torch.stack([torch.zeros_like(sq), -sq]).softmax(0)
    return two[0] - two[1]


@right(SQUASH)
def squash_in_double(sq):
    return (1 - 2 * torch.reciprocal(1 + torch.exp(sq.double()))).to(sq.dtype)


@wrong(SQUASH, "plain sigmoid")
def squash_sigmoid(sq):
    return sq.sigmoid()


@wrong(SQUASH, "too fast")
def squash_too_fast(sq):
    return sq.tanh()


@wrong(SQUASH, "similarity")
def squash_similarity(sq):
    return 2 / (1 + sq.exp())


@wrong(SQUASH, "similarity")
def squash_gaussian(sq):
    return torch.exp(-sq)


@wrong(SQUASH, "another function")
def squash_exponential(sq):
    return 1 - torch.exp(-sq)


@wrong(SQUASH, "another function")
def squash_rational(sq):
    return sq / (sq + 1)


@wrong(SQUASH, "nan")
def squash_overflow(sq):
    e = torch.exp(sq)
    return (e - 1) / (e + 1)


@wrong(SQUASH, "nan")
def squash_hyperbolic(sq):
    return torch.sinh(sq / 2) / torch.cosh(sq / 2)


@wrong(SQUASH, "cut at 1")
def squash_clamped(sq):
    return torch.clamp(sq, 0.0, 1.0)


@wrong(SQUASH, "no gradient|gradient")
def squash_by_math(sq):
    return torch.tensor([math.tanh(s / 2) for s in sq.flatten().tolist()]).reshape(sq.shape)


@wrong(SQUASH, "gradient")
def squash_by_numpy(sq):
    return torch.from_numpy(np.tanh(sq.detach().numpy() / 2))


@wrong(SQUASH, "gradient")
def squash_numpy_raises(sq):
    return torch.from_numpy(np.tanh(sq.numpy() / 2))


@wrong(SQUASH, "gradient")
def squash_without_grad(sq):
    with torch.no_grad():
        return 2 * torch.sigmoid(sq) - 1


@wrong(SQUASH, "squared once more|squared distance already")
def squash_of_square(sq):
    return 1 - 2 / (1 + torch.exp(sq**2))


@wrong(SQUASH, "root")
def squash_of_root(sq):
    return 1 - 2 / (1 + torch.exp(sq.sqrt()))


@wrong(SQUASH, "tensor itself|largest")
def squash_by_largest(sq):
    return sq / sq.max()


@wrong(SQUASH, "tensor itself|depend on the others")
def squash_by_minmax(sq):
    low, high = sq.min(), sq.max()
    return (sq - low) / (high - low + 1e-8)


@wrong(SQUASH, "writes into its argument `sq`")
def squash_in_place(sq):
    return sq.div_(2).tanh_()


@wrong(SQUASH, "squared distances themselves")
def squash_nothing(sq):
    return sq


@wrong(SQUASH, "sign|reversed")
def squash_wrong_sign(sq):
    return 1 - 2 / (1 + torch.exp(-sq))


@wrong(SQUASH, "2 of Eq. 1|another place")
def squash_precedence(sq):
    return 1 - 2 / 1 + torch.exp(sq)


@wrong(SQUASH, "got a list|TypeError|must be|only one element|scalar")
def squash_math_on_tensor(sq):
    return math.tanh(sq / 2)


@wrong(SQUASH, "base")
def squash_other_base(sq):
    return 1 - 2 / (1 + 2**sq)


@wrong(SQUASH, "infin")
def squash_nan_to_zero(sq):
    return torch.tanh(torch.nan_to_num(sq, posinf=0.0) / 2)


@wrong(SQUASH, "shape")
def squash_flat(sq):
    return torch.tanh(sq.flatten() / 2)


@wrong(SQUASH, "round")
def squash_rounded(sq):
    return torch.round(torch.tanh(sq / 2), decimals=1)


@wrong(PAIRS, "roots of distances")
def pairs_of_two_roots(query, reference):
    return torch.cdist(query, reference).sqrt()


@wrong(PAIRS, "summed over all vectors")
def pairs_of_all_norms(query, reference):
    return query.square().sum() + reference.square().sum() - 2 * query @ reference.T


@wrong(SQUASH, "no slope at 0")
def squash_without_sign(sq):
    return abs(2 / (1 + torch.exp(sq)) - 1)
