"""The canonical gauge: scales under which every group's weights in and out have equal norms.

With log scales `t` the squared norms are `in_k = sum_i S_ki exp(2 (t_k - t_i))` and
`out_k = sum_j S_jk exp(2 (t_j - t_k))`, where `S_ji` sums the squares of the weights from group `i`
to group `j`. Equal norms are the stationary points of the sum of all squared weights, which is
convex in `t`: the canonical gauge is its unique minimum, the smallest weights of all rescalings.
It is found by Newton's method, each step solved by conjugate gradients.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.sparse.linalg import LinearOperator, cg

from minaction.energy.symmetry import FIXED, ScaledParameter, Symmetry

TOLERANCE = 1e-12
MAX_STEPS = 200
MAX_MOVE = 2.0  # in log scale, for one step


def tied_groups(symmetry: Symmetry) -> np.ndarray:
    """Return a label for every group; groups that must share their scale share the label."""
    pairs = [torch.stack(tie).cpu().numpy() for tie in symmetry.ties]
    rows, columns = np.concatenate([np.zeros((2, 0), dtype=np.int64), *pairs], axis=1)
    shape = (symmetry.groups, symmetry.groups)
    graph = sparse.coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=shape)
    return connected_components(graph, directed=False)[1]


def free_groups(symmetry: Symmetry, tied: np.ndarray) -> np.ndarray:
    """Return the number of every group after ties and pins; whatever is pinned is `FIXED`."""
    pinned = [tied[[FIXED]], *(tied[pin.groups.cpu().numpy()] for pin in symmetry.pins)]
    return np.where(np.isin(tied, np.concatenate(pinned)), FIXED, tied + 1)


def canonical_scales(symmetry: Symmetry, groups: np.ndarray) -> np.ndarray:
    """Return the canonical scale of every group, `groups` being what `free_groups` gave.

    Groups without a path of weights from the input or to the output are dead: their scale is 0.
    """
    squares = _squared_weights(symmetry, groups)
    alive = _reached(squares) & _reached(squares.transpose().tocsr())
    scales = np.where(alive, 1.0, 0.0)
    free = np.flatnonzero(alive)[1:]
    if len(free):
        kept = np.concatenate([[FIXED], free])
        scales[free] = np.exp(_balanced(squares[kept][:, kept])[1:])
    return scales[groups]


def _squared_weights(symmetry: Symmetry, groups: np.ndarray) -> sparse.csr_array:
    count = int(groups.max()) + 1
    rows, columns, values = [], [], []
    for parameter in symmetry.parameters:
        squares, out_groups, in_groups = _summed(parameter)
        rows.append(groups[out_groups])
        columns.append(groups[in_groups])
        values.append(squares)
    if not rows:
        return sparse.csr_array((count, count))
    where = np.concatenate(rows), np.concatenate(columns)
    squares = sparse.coo_array((np.concatenate(values), where), shape=(count, count)).tocsr()
    squares.setdiag(0)  # a weight from a group to itself does not change with its scale
    squares.eliminate_zeros()
    return squares


def _summed(parameter: ScaledParameter) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum the squares over the axes along which the groups do not change."""
    squares = parameter.value.detach().double().square()
    out_groups, in_groups = torch.broadcast_tensors(parameter.out_groups, parameter.in_groups)
    for axis in reversed(range(squares.ndim)):
        if out_groups.shape[axis] == 1:
            squares = squares.sum(axis, keepdim=True)
    flat = (t.flatten().cpu().numpy() for t in (squares, out_groups, in_groups))
    return tuple(flat)  # pyright: ignore[reportReturnType]


def _reached(squares: sparse.csr_array) -> np.ndarray:
    """Return which groups weights lead to from the fixed one; rows are where they lead."""
    onward = squares.transpose().tocsr()
    order = breadth_first_order(onward, FIXED, return_predecessors=False)
    reached = np.zeros(onward.indptr.size - 1, dtype=bool)
    reached[order] = True
    return reached


def _balanced(squares: sparse.csr_array) -> np.ndarray:
    """Return the log scales at which all norms in and out are equal; the first one is fixed."""
    outward = squares.transpose().tocsr()
    logs = np.zeros(outward.indptr.size - 1)
    for _ in range(MAX_STEPS):
        scales = np.exp(2 * logs)
        norms_in, norms_out = scales * (squares @ (1 / scales)), (outward @ scales) / scales
        ratio = np.log(norms_out[1:] / norms_in[1:])
        if np.abs(ratio).max() < TOLERANCE:
            break
        # far from the solution a Newton step is too long; the fourth root settles one group alone
        step = _newton_step(squares, outward, scales, norms_in, norms_out)
        if np.abs(ratio).max() > 4 or not np.isfinite(step).all():
            step = ratio / 8
        logs[1:] += step * min(1.0, MAX_MOVE / np.abs(step).max())
    return logs


def _newton_step(
    squares: sparse.csr_array,
    outward: sparse.csr_array,
    scales: np.ndarray,
    norms_in: np.ndarray,
    norms_out: np.ndarray,
) -> np.ndarray:
    # in units of each group's own norms, which may differ by many orders
    root = np.sqrt(norms_in + norms_out)

    def product(x: np.ndarray) -> np.ndarray:
        spread = np.concatenate([[0.0], x / root[1:]])
        coupled = scales * (squares @ (spread / scales)) + (outward @ (scales * spread)) / scales
        return 2 * (x - (coupled / root)[1:])

    size = len(root) - 1
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    gradient = ((norms_out - norms_in) / root)[1:]
    step, _ = cg(operator, gradient, rtol=1e-10, maxiter=10 * size)
    return step / root[1:]
