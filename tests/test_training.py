"""Training: steps, whole runs, divergence, resuming to the same bits, evaluation, histories."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fastconv.data import load_digits
from fastconv.errors import DivergenceError, ShapeError
from fastconv.models import lenet5
from fastconv.optim import SGD, Adagrad, Adam, AdamW, RMSprop, clip_grad_norm, clip_grad_value, cosine
from fastconv.training import History, Position, evaluate, fit, predict, train_step

LABELS = "^{}: labels must hold class ids from 0 to 9, got {}$"


@pytest.fixture(scope="module")
def digits():
    (x, labels), (x_test, labels_test) = load_digits()
    return (x[:300], labels[:300]), (x_test[:50], labels_test[:50])


KINDS = {
    "sgd": lambda p: SGD(p, 0.05, 0.9), "adam": Adam, "adamw": AdamW, "adagrad": Adagrad,
    "rmsprop": lambda p: RMSprop(p, 1e-3, momentum=0.5, centered=True),
}  # fmt: skip


def trained_parts(seed=0, kind="sgd"):
    model = lenet5(rng=seed)
    return model, KINDS[kind](model.parameters())


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def losses(history):
    return [row["train_loss"] for row in history.rows]


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_train_step_lowers_the_loss(digits, kind):
    (x, labels), _ = digits
    model, optimizer = trained_parts(kind=kind)
    seen = [train_step(model, x[:32], labels[:32], optimizer) for _ in range(10)]
    assert seen[-1] < seen[0]
    assert optimizer.steps == 10


def test_train_step_takes_one_hot_labels_and_any_layer(digits):
    (x, labels), _ = digits
    (model, optimizer), (other, other_optimizer) = trained_parts(), trained_parts()
    ids = train_step(model, x[:16], labels[:16], optimizer)
    hot = train_step(other, x[:16], np.eye(10, dtype=np.float32)[labels[:16]], other_optimizer)
    assert ids == pytest.approx(hot, rel=1e-5)
    layer = nn.Linear(4, 3, rng=0)
    rows = np.random.default_rng(0).random((6, 4), np.float32)
    optimizer = SGD(layer.parameters(), 0.1)
    classes = np.array([0, 1, 2, 0, 1, 2])
    first = train_step(layer, rows, classes, optimizer)
    assert train_step(layer, rows, classes, optimizer) < first


def test_lr_factor_scales_the_step(digits):
    (x, labels), _ = digits
    model, optimizer = trained_parts()
    before = model.state_dict()
    train_step(model, x[:8], labels[:8], optimizer, lr_factor=0.0)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("limit", [{"clip_norm": 0.1}, {"clip_value": 1e-3}])
def test_gradients_are_clipped_before_the_step(digits, limit):
    (x, labels), _ = digits
    (model, optimizer), (other, other_optimizer), (third, third_optimizer) = (trained_parts() for _ in range(3))
    optimizer.lr = other_optimizer.lr = third_optimizer.lr = 1.0
    train_step(model, x[:32], labels[:32], optimizer, **limit)
    logits, backward = other.forward(x[:32])
    backward(fastconv.cross_entropy(logits, labels[:32])[1])
    clip = clip_grad_norm if "clip_norm" in limit else clip_grad_value
    clip(other.parameters(), *limit.values())
    other_optimizer.step()
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, other.state_dict()[name], rtol=1e-5, atol=1e-7)
    fit(third, (x[:32], labels[:32]), optimizer=third_optimizer, batch_size=32, rng=0, **limit)
    for name, value in third.state_dict().items():  # the same batch in another order
        np.testing.assert_allclose(value, model.state_dict()[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "limits, error, match",
    [
        (
            {"clip_norm": 1.0, "clip_value": 2.0},
            ValueError,
            r"clip_norm=1.0 and clip_value=2.0 were given, at most one",
        ),
        ({"clip_norm": -1}, ValueError, "clip_norm must be finite, at least 0, got -1"),
        ({"clip_value": "1"}, TypeError, "clip_value must be a number, got '1'"),
    ],
)
def test_limits_that_are_refused(digits, limits, error, match):
    model, optimizer = trained_parts()
    x, labels = digits[0][0][:4], digits[0][1][:4]
    with pytest.raises(error, match=f"train_step: {match}"):
        train_step(model, x, labels, optimizer, **limits)
    with pytest.raises(error, match=f"fit: {match}"):
        fit(model, (x, labels), optimizer=optimizer, **limits)


@pytest.mark.parametrize(
    "changed, error, match",
    [
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": -1}, ValueError, "batch_size"),
        ({"batch_size": 1.5}, TypeError, "batch_size"),
        ({"batch_size": True}, TypeError, "batch_size"),
        ({"epochs": 1.5}, TypeError, "epochs"),
        ({"epochs": -1}, ValueError, "epochs"),
        ({"train": (np.zeros((4, 1, 28, 28), np.float32), np.zeros(3, int))}, ValueError, "labels"),
        ({"train": (np.zeros((0, 1, 28, 28), np.float32), np.zeros(0, int))}, ValueError, "no samples"),
        ({"train": np.zeros((4, 1, 28, 28), np.float32)}, TypeError, "pair"),
        ({"train": (np.zeros((4, 1, 28, 28), np.float32),)}, TypeError, "pair"),
        ({"train": ([[1.0]], [0])}, TypeError, "NumPy arrays"),
        ({"train": (np.zeros((4, 1, 28, 28), np.float32), np.full(4, 10))}, ValueError, LABELS.format("fit", 10)),
        ({"validation": (np.zeros((0, 1, 28, 28), np.float32), np.zeros(0, int))}, ValueError, "no samples"),
        ({"validation": 3}, TypeError, "pair"),
    ],
)
def test_fit_refuses(digits, changed, error, match):
    model, optimizer = trained_parts()
    before = model.state_dict()
    arguments = {"train": (digits[0][0][:4], digits[0][1][:4]), "optimizer": optimizer, "rng": 0} | changed
    with pytest.raises(error, match=match):
        fit(model, **arguments)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("at", [0.0, 0.5, 0.75])
def test_divergence_leaves_the_last_good_weights(digits, at):
    (x, labels), _ = digits
    model, optimizer = trained_parts()
    recorded = [model.state_dict()]

    def record(run):
        if not run.epoch_ended:
            recorded.append(run.model.state_dict())

    with pytest.raises(DivergenceError, match=r"fit: the loss is .* at step \d of epoch \d") as caught:
        fit(model, (x[:256], labels[:256]), optimizer=optimizer, epochs=2, batch_size=64, rng=0,
            schedule=lambda done: 1e38 if done >= at else 1.0, callbacks=[record])  # fmt: skip
    assert isinstance(caught.value, ArithmeticError)
    failed = len(recorded) - 1  # steps completed
    assert f"step {failed % 4 + 1} of epoch {failed // 4 + 1}" in str(caught.value)
    assert failed == at * 8 + 1
    # the last weights recorded are the ones that gave the bad loss
    for name, value in model.state_dict().items():
        assert np.isfinite(value).all()
        np.testing.assert_array_equal(value, recorded[-2][name])


@pytest.mark.parametrize("limit", [{}, {"clip_norm": 0.1}, {"clip_value": 1e-3}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_nan_in_the_data_is_divergence(digits, kind, limit):
    x, labels = digits[0][0][:8].copy(), digits[0][1][:8]
    model, optimizer = trained_parts(kind=kind)
    fit(model, (x, labels), optimizer=optimizer, batch_size=8, **limit)
    x[3] = np.nan
    before = model.state_dict() | optimizer.state_dict()
    with pytest.raises(DivergenceError, match="step 1 of epoch 1"):
        fit(model, (x, labels), optimizer=optimizer, batch_size=8, **limit)
    for name, value in (model.state_dict() | optimizer.state_dict()).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [2, 5, 7])
def test_a_resumed_run_has_the_same_bits(digits, tmp_path, kind, stop):
    train, test = digits
    wanted = {"epochs": 2, "batch_size": 64, "rng": 7, "schedule": cosine}  # 5 steps an epoch
    whole, optimizer = trained_parts(kind=kind)
    full = fit(whole, train, test, optimizer=optimizer, **wanted)

    model, optimizer = trained_parts(kind=kind)
    history, position = History(), Position()
    fit(model, train, test, optimizer=optimizer, history=history, position=position, **wanted,
        callbacks=[lambda run: run.position.epoch * 5 + run.position.step == stop])  # fmt: skip
    assert position.epoch * 5 + position.step == stop
    path = tmp_path / "run.npz"
    save_checkpoint(path, Checkpoint(model.state_dict(), optimizer.state_dict(), {}, history, position))

    kept = load_checkpoint(path)
    model, optimizer = trained_parts(seed=99, kind=kind)
    model.load_state_dict(kept.model)
    optimizer.load_state_dict(kept.optimizer)
    resumed = fit(model, train, test, optimizer=optimizer, history=kept.history, position=kept.position, **wanted)
    assert_same_weights(model, whole)
    np.testing.assert_array_equal(losses(resumed), losses(full))
    assert [row["test_loss"] for row in resumed.rows] == [row["test_loss"] for row in full.rows]
    assert [row["epoch"] for row in resumed.rows] == [1, 2]


def with_state(seed=0):
    """A model whose layers keep more than parameters: running statistics and numbers of draws."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 5, 3, rng=seed), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3, rng=5),
        nn.Linear(256, 10, rng=seed),
    )  # fmt: skip
    return model, SGD(model.parameters(), 0.02, 0.9)


@pytest.mark.parametrize("stop", [2, 5, 7])
def test_a_resumed_run_with_dropout_and_running_statistics_has_the_same_bits(digits, tmp_path, stop):
    train, test = digits
    wanted = {"epochs": 2, "batch_size": 64, "rng": 7}  # 5 steps an epoch
    whole, optimizer = with_state()
    full = fit(whole, train, test, optimizer=optimizer, **wanted)
    model, optimizer = with_state()
    history, position = History(), Position()
    fit(model, train, test, optimizer=optimizer, history=history, position=position, **wanted,
        callbacks=[lambda run: run.position.epoch * 5 + run.position.step == stop])  # fmt: skip
    path = tmp_path / "run.npz"
    state = model.state_dict(resumable=True)
    save_checkpoint(path, Checkpoint(state, optimizer.state_dict(), {}, history, position))
    kept = load_checkpoint(path)
    model, optimizer = with_state(seed=99)
    model.load_state_dict(kept.model)
    optimizer.load_state_dict(kept.optimizer)
    resumed = fit(model, train, test, optimizer=optimizer, history=kept.history, position=kept.position, **wanted)
    assert_same_weights(model, whole)
    assert losses(resumed) == losses(full)


def test_divergence_leaves_the_last_good_running_statistics(digits):
    (x, labels), _ = digits
    model, optimizer = with_state()
    recorded = [model.state_dict(resumable=True)]

    def record(run):
        if not run.epoch_ended:
            recorded.append(run.model.state_dict(resumable=True))

    with pytest.raises(DivergenceError):
        fit(model, (x[:256], labels[:256]), optimizer=optimizer, epochs=2, batch_size=64, rng=0,
            schedule=lambda done: 1e38 if done >= 0.5 else 1.0, callbacks=[record])  # fmt: skip
    for name, value in model.state_dict(resumable=True).items():
        assert np.isfinite(value).all()
        np.testing.assert_array_equal(value, recorded[-2][name])


def test_a_finished_run_does_nothing(digits):
    train, _ = digits
    model, optimizer = trained_parts()
    before = model.state_dict()
    assert len(fit(model, train, optimizer=optimizer, epochs=2, position=Position(epoch=2))) == 0
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_threads_do_not_change_the_weights(digits):
    train, _ = digits
    models = []
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            model, optimizer = trained_parts()
            fit(model, train, optimizer=optimizer, batch_size=50, rng=0)
            models.append(model)
    assert_same_weights(*models)


def test_the_numpy_backend_trains_alike(digits):
    (x, labels), _ = digits
    (model, optimizer), (other, other_optimizer) = trained_parts(), trained_parts()
    for i in range(3):
        batch = x[16 * i : 16 * i + 16], labels[16 * i : 16 * i + 16]
        loss = train_step(model, *batch, optimizer)
        with fastconv.use_backend("numpy"):
            assert train_step(other, *batch, other_optimizer) == pytest.approx(loss, abs=1e-4)
    theirs = other.state_dict()
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, theirs[name], rtol=0, atol=1e-4)


def test_callbacks_see_every_step_and_epoch(digits):
    train, test = digits
    model, optimizer = trained_parts()
    seen = []

    def first(run):
        seen.append((run.epoch_ended, run.position.epoch, run.position.step, len(run.history)))
        return run.epoch_ended  # ends the run

    others = []
    history = fit(model, train, test, optimizer=optimizer, epochs=3, batch_size=150, rng=0,
                  callbacks=[first, lambda run: others.append(run.loss)])  # fmt: skip
    assert seen == [(False, 0, 1, 0), (False, 0, 2, 0), (True, 1, 0, 1)]
    assert len(others) == 3 and np.isfinite(others).all()
    (row,) = history.rows
    assert list(row) == ["epoch", "train_loss", "test_loss", "test_accuracy", "seconds", "images_per_second"]
    assert (row["test_loss"], row["test_accuracy"]) == evaluate(model, *test)


def test_train_loss_is_the_mean_over_images(digits):
    x, labels = digits[0][0][:10], digits[0][1][:10]
    model, optimizer = trained_parts()
    optimizer.lr = 0.0
    history = fit(model, (x, labels), optimizer=optimizer, batch_size=7, rng=0)
    assert history.rows[0]["train_loss"] == pytest.approx(evaluate(model, x, labels)[0], rel=1e-5)
    assert history.rows[0]["test_loss"] is None and history.rows[0]["test_accuracy"] is None


def logits_images(logits):
    return np.asarray(logits, np.float64)[:, :, None, None]


@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_evaluate_values(batch_size):
    x = logits_images([[0, np.log(3)], [0, np.log(3)], [np.log(3), 0]])
    labels = np.array([1, 0, 0])
    loss, accuracy = evaluate(nn.Flatten(), x, labels, batch_size)
    assert loss == pytest.approx((2 * np.log(4 / 3) + np.log(4)) / 3)
    assert accuracy == pytest.approx(2 / 3)
    assert evaluate(nn.Flatten(), x, np.eye(2)[labels], batch_size) == pytest.approx((loss, accuracy))


def test_predict_values():
    x = logits_images([[0, np.log(3)], [np.log(3), 0], [0, 0]])
    wanted = [[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]]
    for batch_size in (1, 2, 256):
        np.testing.assert_allclose(predict(nn.Flatten(), x, batch_size), wanted, rtol=1e-12)


def test_label_out_of_range_names_the_function_and_the_argument(digits):
    (x, labels), _ = digits
    model, optimizer = trained_parts()
    before = model.state_dict()
    for bad in (-1, 10):
        wrong = labels[:4].copy()
        wrong[2] = bad
        with pytest.raises(ValueError, match=LABELS.format("train_step", bad)):
            train_step(model, x[:4], wrong, optimizer)
        with pytest.raises(ValueError, match=LABELS.format("evaluate", bad)):
            evaluate(model, x[:4], wrong)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(ValueError, match=r"^fit: validation's labels must hold class ids from 0 to 9, got 10$"):
        fit(model, (x[:4], labels[:4]), (x[:4], np.full(4, 10)), optimizer=optimizer, epochs=1, rng=0)
    with pytest.raises(TypeError, match=r"^train_step: labels must hold class ids as integers, got float32$"):
        train_step(model, x[:4], labels[:4].astype(np.float32), optimizer)
    with pytest.raises(ValueError, match=re.escape("evaluate: labels must have shape (4, 10), got (4, 3)")):
        evaluate(model, x[:4], np.eye(3)[[0, 1, 2, 0]])


def test_evaluate_and_predict_refuse():
    x = logits_images([[0, 1]])
    with pytest.raises(ValueError, match="no samples"):
        evaluate(nn.Flatten(), x[:0], np.zeros(0, int))
    with pytest.raises(ValueError, match="labels"):
        evaluate(nn.Flatten(), x, np.zeros(2, int))
    with pytest.raises(ValueError, match="batch_size"):
        evaluate(nn.Flatten(), x, np.zeros(1, int), 0)
    with pytest.raises(TypeError, match="batch_size"):
        predict(nn.Flatten(), x, 1.0)


ROWS = [
    {"epoch": 1, "train_loss": 0.1 + 0.2, "test_loss": None, "seconds": 1e-9},
    {"epoch": 2, "train_loss": 1 / 3, "test_loss": 2.5, "seconds": 3.0},
]


def test_history_round_trips(tmp_path):
    history = History(ROWS)
    assert len(history) == 2
    text = history.to_json(tmp_path / "h.json")
    assert (tmp_path / "h.json").read_text() == text
    assert json.loads(text) == ROWS
    text = history.to_csv(tmp_path / "h.csv")
    assert (tmp_path / "h.csv").read_text() == text
    back = [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(text.splitlines())]
    assert back == ROWS
    assert (History().to_csv(), json.loads(History().to_json())) == ("", [])


def test_history_is_written_atomically_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "h.csv"
    path.write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("fastconv.data.files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        History(ROWS).to_csv(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def small():
    return nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3, rng=0))


IMAGES, IDS = np.ones((4, 1, 6, 6), np.float32), np.array([0, 1, 2, 0])


def test_an_optimiser_of_other_parameters_is_refused():
    model, other = small(), nn.Linear(2, 2, rng=0)
    for parameters, match in (
        (other.parameters(), "2 of 2 parameters that are not the model's"),
        (model.parameters() + other.parameters(), "2 of 6 parameters that are not the model's"),
    ):
        for kind in (SGD, Adam):
            with pytest.raises(ValueError, match=f"^fit: optimizer has {match}"):
                fit(model, (IMAGES, IDS), optimizer=kind(parameters, 0.1))
            with pytest.raises(ValueError, match=f"^train_step: optimizer has {match}"):
                train_step(model, IMAGES, IDS, kind(parameters, 0.1))
    optimizer = SGD(model.freeze().parameters(), 0.1)
    with pytest.raises(ValueError, match=r"^fit: optimizer must have at least one trainable parameter"):
        fit(model, (IMAGES, IDS), optimizer=optimizer)


def test_an_optimiser_of_some_of_the_parameters_trains_those():
    model = small()
    before = model.state_dict()
    train_step(model, IMAGES, IDS, SGD(model[3].parameters(), 0.1))
    fit(model, (IMAGES, IDS), optimizer=SGD(model[3].parameters(), 0.1))
    changed = {name for name, value in model.state_dict().items() if not np.array_equal(value, before[name])}
    assert changed == {"3.weight", "3.bias"}


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda m, o: fit(m, (IMAGES, IDS), optimizer=None), TypeError, "^fit: optimizer must be .* got NoneType"),
        (lambda m, o: train_step(m, IMAGES, IDS, None), TypeError, "^train_step: optimizer must be .* got NoneType"),
        (lambda m, o: fit(None, (IMAGES, IDS), optimizer=o), TypeError, "^fit: model must be a Layer, got NoneType"),
        (lambda m, o: fit(m, (IMAGES, IDS, 1), optimizer=o), TypeError, "train must be a pair .* got tuple of 3"),
        (lambda m, o: fit(m, (IMAGES, IDS), optimizer=o, epochs=-1), ValueError, "^fit: epochs must be from 0"),
        (lambda m, o: fit(m, (IMAGES, IDS), optimizer=o, batch_size=0), ValueError, "^fit: batch_size must be from 1"),
        (lambda m, o: train_step(m, IMAGES[:0], IDS[:0], o), ValueError, "^train_step: x must be .* one sample"),
        (lambda m, o: train_step(m, [1], IDS, o), TypeError, "^train_step: x and labels must be NumPy arrays"),
        (lambda m, o: predict(m, [1]), TypeError, "^predict: x must be a NumPy array, got list"),
        (lambda m, o: predict(m, IMAGES, 0), ValueError, "^predict: batch_size must be from 1"),
        (lambda m, o: evaluate(m, IMAGES, IDS, 0), ValueError, "^evaluate: batch_size must be from 1"),
        (lambda m, o: fit(m, (IMAGES[:, 0], IDS), optimizer=o), ValueError, r"layer 0, Conv2d: .*x\[:, None\]$"),
        (lambda m, o: train_step(m, IMAGES[:, 0], IDS, o), ValueError, r"layer 0, Conv2d: .*x\[:, None\]$"),
        (lambda m, o: predict(m, IMAGES[:, 0]), ValueError, r"layer 0, Conv2d: .*x\[:, None\]$"),
        (lambda m, o: evaluate(m, IMAGES[:, 0], IDS), ValueError, r"layer 0, Conv2d: .*x\[:, None\]$"),
    ],
)
def test_wrong_arguments_are_named(call, error, match):
    model = small()
    with pytest.raises(error, match=match):
        call(model, SGD(model.parameters(), 0.1))


@pytest.mark.parametrize(
    "changed, error, match",
    [
        ({"schedule": "cosine"}, TypeError, "schedule must be a function.*got str"),
        ({"schedule": lambda done: "1"}, TypeError, "what schedule returns must be a number, got '1'"),
        ({"schedule": lambda done: float("nan")}, ValueError, "what schedule returns must be finite"),
        ({"callbacks": print}, TypeError, "callbacks must be a list of functions, got builtin_function"),
        ({"callbacks": [None]}, TypeError, "callbacks must be functions, got NoneType"),
        ({"callbacks": None}, TypeError, "callbacks must be a list of functions, got NoneType"),
        ({"rng": -1}, ValueError, "rng must be a seed of at least 0, got -1"),
        ({"rng": True}, TypeError, "rng must be"),
    ],
)
def test_functions_and_seeds_of_the_wrong_kind_are_named_before_anything_is_trained(digits, changed, error, match):
    model, optimizer = trained_parts()
    before = model.state_dict()
    with pytest.raises(error, match=f"^fit: {match}"):
        fit(model, digits[1], optimizer=optimizer, **changed)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    with pytest.raises(TypeError, match=r"^train_step: lr_factor must be a number, got '1'"):
        train_step(model, *digits[1], optimizer, lr_factor="1")


def test_one_grey_image_at_a_time_is_hinted_at():
    """A convolution takes it for an image without a batch; the linear layer behind refuses what comes."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.Sigmoid(), nn.Flatten(), nn.Linear(32, 4, rng=0))
    x, labels = np.zeros((3, 6, 6), np.float32), np.zeros(3, np.int64)
    optimizer = SGD(model.parameters(), 0.1)
    for call in (
        lambda: predict(model, x, batch_size=1),
        lambda: evaluate(model, x, labels, batch_size=1),
        lambda: fit(model, (x, labels), optimizer=optimizer, batch_size=1),
        lambda: train_step(model, x[:1], labels[:1], optimizer),
    ):
        with pytest.raises(ShapeError, match=r"Linear: .*x\[:, None\]"):
            call()
