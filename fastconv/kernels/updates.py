"""Steps of the optimisers: a rule for each, and the pass over all parameters, which clips their gradients as well.

Only the rules that are used are compiled: they are linked.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from fastconv._runtime.jit import helper, linked_helper, strict_helper, strict_kernel
from fastconv._runtime.launch import prange
from fastconv._runtime.pointers import array_at, prefetch_write

LINE_BYTES = 64  # of the cache, on x86 and most others

NO_RULE, SGD, ADAM, ADAGRAD, RMSPROP = range(5)


class Step(NamedTuple):
    """A step of an optimiser, for any elements.

    Attributes:
        rule: one of those above; `NO_RULE` leaves the parameters as they are, and clips.
        slots: (slots, parameters) addresses of the rule's flat arrays.
        numbers: of the rule, of the parameters' dtype.
        limits: (2,) of it: the largest magnitude that an element of a gradient is left with, and the factor that
            gradients are multiplied by; infinity and 1 leave them as they are.
    """

    rule: int
    slots: np.ndarray
    numbers: np.ndarray
    limits: np.ndarray


_linked_rule = functools.partial(linked_helper, fastmath=False)


@_linked_rule
def sgd(value, grad, velocity, numbers):
    """One step of SGD with momentum, in place.

    Precondition: flat arrays of one size and float type; numbers (4,) of it: the learning rate, the momentum, the
    weight decay, and whether it is Nesterov's.
    """
    lr, momentum, weight_decay, nesterov = numbers[0], numbers[1], numbers[2], numbers[3] != 0
    for i in range(np.uint64(value.size)):
        g = grad[i] + weight_decay * value[i]
        v = momentum * velocity[i] + g
        velocity[i] = v
        value[i] -= lr * (g + momentum * v if nesterov else v)


@_linked_rule
def adam(value, grad, means, squares, numbers):
    """One step of Adam, or of AdamW, in place.

    Precondition: as for `sgd`; numbers (10,) the learning rate, beta1, beta2, eps, the weight decay, 1 - beta**step of
    both, 1 - beta of both, which would lose five digits in float32, and the share of the value that AdamW keeps.
    """
    lr, beta1, beta2, eps, weight_decay = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    scale1, scale2, rest1, rest2, kept = numbers[5], numbers[6], numbers[7], numbers[8], numbers[9]
    zero = value.dtype.type(0)
    # divisions take longer than all else: those by 1 are left out (measured: 1.1 and not 2.1 ms for 434,000 of float64)
    unbiased = scale1 == value.dtype.type(1) and scale2 == value.dtype.type(1)
    for i in range(np.uint64(value.size)):
        old = kept * value[i]
        g = grad[i] + weight_decay * old if weight_decay != zero else grad[i]
        m = beta1 * means[i] + rest1 * g
        v = beta2 * squares[i] + rest2 * g * g
        means[i], squares[i] = m, v
        mean, square = (m, v) if unbiased else (m / scale1, v / scale2)
        value[i] = old - lr * mean / (np.sqrt(square) + eps)


@_linked_rule
def adagrad(value, grad, totals, numbers):
    """One step of Adagrad, in place: none where neither the gradient nor the root is other than 0.

    Precondition: as for `sgd`; numbers (3,) the rate, eps, the weight decay.
    """
    rate, eps, weight_decay = numbers[0], numbers[1], numbers[2]
    zero = value.dtype.type(0)
    for i in range(np.uint64(value.size)):
        g = grad[i] + weight_decay * value[i] if weight_decay != zero else grad[i]
        total = totals[i] + g * g
        totals[i] = total
        root = np.sqrt(total) + eps
        value[i] -= rate * (zero if root == zero and g == zero else g / root)


@_linked_rule
def rmsprop(value, grad, squares, velocity, means, numbers):
    """One step of RMSprop, in place: none where neither the gradient nor the root is other than 0.

    Precondition: as for `sgd`, velocity and means only where they are used; numbers (7,) the learning rate, alpha,
    1 - alpha, eps, the weight decay, the momentum, which uses velocity unless it is 0, and whether means are used.
    """
    lr, alpha, rest, eps, weight_decay = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    zero, momentum = value.dtype.type(0), numbers[5]
    moving, centered = momentum != zero, numbers[6] != zero
    for i in range(np.uint64(value.size)):
        g = grad[i] + weight_decay * value[i] if weight_decay != zero else grad[i]
        square = alpha * squares[i] + rest * g * g
        squares[i] = square
        if centered:
            mean = means[i] + rest * (g - means[i])
            means[i] = mean
            square -= mean * mean
            square = zero if square <= zero else square  # rounding may take it below
        root = np.sqrt(square) + eps
        change = zero if root == zero and g == zero else g / root
        if moving:
            change += momentum * velocity[i]
            velocity[i] = change
        value[i] -= lr * change


@_linked_rule
def clip(grad, limits):
    """Multiply a gradient by the factor, then limit its magnitude, in place; NaN stays."""
    most, factor = limits[0], limits[1]
    for i in range(np.uint64(grad.size)):
        g = factor * grad[i]
        grad[i] = most if g > most else -most if g < -most else g


@strict_helper
def _claim(values):
    """Ask for all of the values at once: every core has read the weights.

    Waiting for one line after another took most of an update (measured: 32 us instead of 52 us for LeNet-5 on 2 cores).
    """
    for i in range(np.uint64(0), np.uint64(values.size), np.uint64(LINE_BYTES // values.itemsize)):
        prefetch_write(values, i)


@strict_helper
def update_part(values, grads, p, first, count, step):
    """Clip the gradients of elements first to first + count - 1 of a parameter, and take their step.

    Precondition: as for `update`.
    """
    numbers, slots, place = step.numbers, step.slots, first * step.numbers.itemsize
    value, grad = array_at(values[p] + place, count, numbers), array_at(grads[p] + place, count, numbers)
    if step.limits[0] < np.inf or step.limits[1] != 1:
        clip(grad, step.limits)
    if step.rule == NO_RULE:
        return
    _claim(value)
    slot = array_at(slots[0, p] + place, count, numbers)
    if step.rule == SGD:
        sgd(value, grad, slot, numbers)
    elif step.rule == ADAM:
        adam(value, grad, slot, array_at(slots[1, p] + place, count, numbers), numbers)
    elif step.rule == ADAGRAD:
        adagrad(value, grad, slot, numbers)
    elif step.rule == RMSPROP:
        second, third = array_at(slots[1, p] + place, count, numbers), array_at(slots[2, p] + place, count, numbers)
        rmsprop(value, grad, slot, second, third, numbers)


@strict_kernel
def update(team, values, grads, tasks, step):
    """Clip the gradients of all parameters, and take one step of an optimiser, in place.

    Precondition: values, grads (P,) addresses of flat arrays of the dtype of step's numbers; tasks (T, 3) the
    parameter, its first element and how many, each once. Parallel over tasks, each of which owns its elements.
    """
    for task in prange(team, tasks.shape[0]):
        update_part(values, grads, tasks[task, 0], tasks[task, 1], tasks[task, 2], step)


@helper
def _sum_of_squares(grad):
    total = np.float64(0)
    for i in range(np.uint64(grad.size)):
        g = np.float64(grad[i])
        total += g * g
    return total


@strict_kernel
def squares(team, grads, tasks, like, sums):
    """The sum of the squares of each task's elements, in float64, where those of float32 neither overflow nor vanish.

    Precondition: grads and tasks as for `update`, of like's dtype; sums (T,) float64. Parallel over tasks.
    """
    for task in prange(team, tasks.shape[0]):
        place = tasks[task, 1] * like.itemsize
        sums[task] = _sum_of_squares(array_at(grads[tasks[task, 0]] + place, tasks[task, 2], like))
