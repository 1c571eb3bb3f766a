"""The composite LSTM autoencoder as a scikit-learn estimator.

This file is longer than 700 lines because 480 of them are docstrings of the public interface.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin
from sklearn.utils._set_output import _get_output_config

from backcast._estimator import state_dict
from backcast._estimator.composite import CompositeEstimator
from backcast._parameters import check_decoder, steps_or_horizon, value
from backcast._training.hooks import Callback
from backcast._training.windows import pair_of
from backcast._warn import warn
from backcast.data._times import on_indices
from backcast.data.series import Windows
from backcast.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    import pandas as pd

    from backcast._torch import TorchModel

Decoder = Literal["reconstruct", "predict"]
# float32, or float64 with `scale`.
Frames = NDArray[Any] | list[NDArray[Any]]
Trace = dict[str, dict[str, Any]]
# A layer's gates, in the order in which it keeps them.
_GATES = ("input_gate", "forget_gate", "candidate", "output_gate")


class Model(TransformerMixin, CompositeEstimator):
    """Composite LSTM autoencoder: reconstruct the past, predict the future.

    An encoder LSTM compresses a sequence of frames into a state; one decoder reconstructs the past
    from it, last frame first, another predicts the future [1]_. A frame is one time step, of any
    shape.

    Parameters
    ----------
    hidden_size : int, default=256
        Units of every LSTM layer, and length of an embedding.
    num_layers : int, default=1
        LSTM layers of the encoder and of each decoder.
    peepholes : bool, default=False
        Whether the gates also see the cell, as in the paper's code: each unit's cell adds to the
        sums of its input and forget gates before it is updated, and to that of its output gate
        afterwards.
    pooling : {"last", "mean"}, default="last"
        What an embedding is. "last" is h of the top layer after the last frame, from which the
        decoders start. "mean" is the mean of h over all frames; it ignores where the sequence ends
        and separates whole recordings better.
    horizon : int, default=None
        Number of future frames in a window. By default it is that of `future` in `fit`, or of
        windows of a table that have a future; of other windows in one array, half of the frames.
    decoders : {"both", "reconstruct", "predict"}, default="both"
        Which decoders the model has. "reconstruct" is the autoencoder alone (a window is all past),
        "predict" the future predictor alone.
    feedback : {"output", "none", "truth", "scheduled"} or dict, default="output"
        The input of a decoder; a dict gives one word for each decoder. The first step always gets
        a zero frame. "output": the decoder's own last output, gradient stopped. "none": no input
        and no input weights (the paper's unconditional decoder). "truth": in training the true
        frame of the step before, at inference its own output (the paper's conditional decoder).
        "scheduled": the truth with a probability that falls linearly from 1 to 0 over `max_iter`
        updates, drawn for each window and step; otherwise its own output.
    loss : {"mse", "bce"}, default="mse"
        Squared error of linear outputs, or binary cross entropy in nats of sigmoid outputs, for
        frames in 0..1.
    scale : {None, "standard", "minmax"}, default=None
        How each number of a frame is scaled for the model. None leaves it as it is, "standard"
        gives mean 0 and standard deviation 1, "minmax" the range 0..1. The scaling is learnt in
        `fit` and undone in results; losses are those of the scaled numbers.
    loss_weights : tuple of two floats, default=(1.0, 1.0)
        Weights of the reconstruct and the predict loss in the total.
    dropout : float, default=0.0
        Probability of dropping a unit between layers, in training.
    forget_bias : float, default=1.0
        First bias of the forget gates: ``bias_ih`` gets it, ``bias_hh`` gets zero. None draws both
        as `init` says.
    init : {"pytorch", "paper"}, default="pytorch"
        How the first weights are drawn. "pytorch": all from U(-1/sqrt(H), 1/sqrt(H)). "paper": as
        in the paper's code, from U(-0.01, 0.01), peepholes from U(-0.1, 0.1), biases zero.
    optimizer : {"adam", "adamw", "rmsprop"}, default="adam"
        The optimizer of the same name in ``torch.optim``, with its defaults.
    learning_rate : float, default=3e-3
        Step size. Networks of thousands of units need a smaller one, such as 5e-4.
    weight_decay : float, default=0.0
        L2 penalty ("adam", "rmsprop") or decoupled decay ("adamw").
    max_grad_norm : float, default=1.0
        Gradients with a larger norm are scaled down to it; None keeps all as they are.
    schedule : {None, "constant", "cosine"}, default="cosine"
        The learning rate over the updates: None and "constant" keep it, "cosine" is half a cosine
        down to zero at `max_iter`. `partial_fit`, whose end is not known, keeps it.
    warmup : int, default=0
        Updates over which the learning rate rises from zero.
    batch_size : int, default=32
        Windows in an update, and in a pass of inference.
    max_iter : int, default=1000
        Updates of the weights in `fit`.
    patience : int, default=None
        With `validation` in `fit`: number of records without a better validation loss after which
        training stops; the model keeps the weights of the best record. None trains to the end and
        keeps the last weights.
    device : str, default="auto"
        Where the model is: "cpu", "cuda", "cuda:1", or "auto", which is CUDA if available.
    precision : {"auto", "fp32", "tf32", "bf16", "fp16"}, default="auto"
        What the factors of matrix products are rounded to: 23 ("fp32"), 10 ("tf32", "fp16") or 7
        ("bf16") bits of mantissa. Sums, states, losses and the optimizer are always in float32.
        "auto" is "tf32" on CUDA and "fp32" on the CPU. On the CPU, "bf16" and "fp16" show what a
        GPU would learn; they are slower than "fp32".
    num_threads : int, default=None
        Threads of the CPU; None uses as many as torch, whose number OMP_NUM_THREADS sets. Without
        that variable, a process that multiprocessing has started (a pool, a DataLoader) uses one. A
        forked process always has one.
    random_state : int, RandomState instance or None, default=None
        Seed of the first weights, the order of windows, dropout and scheduled feedback.
    warm_start : bool, default=False
        Whether `fit` continues from the present weights: it finishes an interrupted training, and
        continues a finished one for `max_iter` further updates.
    verbose : int, default=1
        0 is silent, 1 shows a progress bar.

    Attributes
    ----------
    history_ : list of dict
        About 100 records in `max_iter` updates, with the keys ``step``, ``epoch``, ``loss`` (the
        weighted total), the name of each decoder (its loss), ``learning_rate`` and ``seconds``.
        Losses are means over the updates since the last record, as in training. With `validation`
        also ``validation_loss`` and one loss for each decoder, run as at inference.
    frame_shape_ : tuple of int
        Shape of one frame.
    feature_names_in_ : ndarray
        Labels of the columns, if it was fitted on windows of a table, or on a list of tables.
        Windows with other columns, or in another order, are refused.
    baselines_ : dict of float
        Losses of simple models, as `baselines` gives them, on up to 64 windows: of `validation` or
        else of the training. `fit` warns where the model is no better on these. It is empty after
        less than 100 updates.
    horizon_ : int or None
        Number of future frames that the model was fitted on; None if unknown.
    n_iter_ : int
        Updates made so far.
    seed_ : int
        The seed drawn from `random_state`.
    device_ : str
        The device of the model: "cpu", "cuda:0" and so on.

    References
    ----------
    .. [1] N. Srivastava, E. Mansimov, R. Salakhutdinov, "Unsupervised Learning of Video
       Representations using LSTMs", ICML 2015, arXiv 1502.04681.

    Examples
    --------
    >>> import numpy as np
    >>> from backcast import Model
    >>> t = np.arange(20) / 3 + np.random.default_rng(0).uniform(0, 6, size=(64, 1))
    >>> waves = np.sin(t)[..., None]                       # 64 windows of 20 frames of 1 number
    >>> model = Model(hidden_size=16, max_iter=50, random_state=0, device="cpu", verbose=0)
    >>> model.fit(waves).encode(waves).shape
    (64, 16)
    >>> model.predict(waves[:, :10]).shape                 # the 10 frames after the first 10
    (64, 10, 1)
    """

    def __init__(
        self,
        hidden_size: int = 256,
        num_layers: int = 1,
        *,
        peepholes: bool = False,
        pooling: Literal["last", "mean"] = "last",
        horizon: int | None = None,
        decoders: str = "both",
        feedback: str | Mapping[str, str] = "output",
        loss: str = "mse",
        scale: str | None = None,
        loss_weights: tuple[float, float] = (1.0, 1.0),
        dropout: float = 0.0,
        forget_bias: float | None = 1.0,
        init: str = "pytorch",
        optimizer: str = "adam",
        learning_rate: float = 3e-3,
        weight_decay: float = 0.0,
        max_grad_norm: float | None = 1.0,
        schedule: str | None = "cosine",
        warmup: int = 0,
        batch_size: int = 32,
        max_iter: int = 1000,
        patience: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        num_threads: int | None = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 1,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.peepholes = peepholes
        self.pooling = pooling
        self.horizon = horizon
        self.decoders = decoders
        self.feedback = feedback
        self.loss = loss
        self.scale = scale
        self.loss_weights = loss_weights
        self.dropout = dropout
        self.forget_bias = forget_bias
        self.init = init
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_grad_norm = max_grad_norm
        self.schedule = schedule
        self.warmup = warmup
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.patience = patience
        self.device = device
        self.precision = precision
        self.num_threads = num_threads
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    # -- training ----------------------------------------------------------------------------------

    def fit(
        self,
        past: Any,
        future: Any = None,
        *,
        validation: Any = None,
        callback: Callback | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_minutes: float = 5.0,
        group: Any = None,
        shared: bool = True,
    ) -> Self:
        """Train for `max_iter` updates, from new weights.

        Parameters
        ----------
        past : array_like of shape (n_windows, T, *frame_shape), list of arrays, or iterable
            Pasts; if `future` is None, whole windows, whose last `horizon` frames are the future,
            or those that windows of a table (`backcast.data.windows`) have as their future.
            A list holds one array (T_i, *frame_shape) for each window. uint8 frames are taken as
            0..255 and scaled to 0..1, but not in tables. NaN is a missing number, and so is a
            masked one. Objects with a shape and slices, such as memory maps and h5py datasets, are
            read batch by batch. An iterable gives batches; see Notes. Arrays of (cases, channels,
            time), as of aeon and sktime, come as ``x.swapaxes(1, 2)``.
        future : array_like of shape (n_windows, F, *frame_shape), or list, default=None
            The frames after each past. It must be None with an iterable.
        validation : float, array_like or pair, default=None
            Held-out windows, whose losses are added to the records of `history_`: one array or a
            pair (past, future), as above. A number between 0 and 1 holds out this fraction of the
            windows, the last ones, which in series are the latest. Of windows of tables
            (`backcast.data.windows`) it holds out whole recordings or, if there is only one,
            windows that share no row with the others. With an iterable, `validation` must be
            windows.
        callback : callable, default=None
            Called as ``callback(model, record)`` with every record of `history_`; training stops
            when it returns True.
        checkpoint : str or path-like, default=None
            File in which the training is saved at intervals, at the end, on Ctrl-C and on
            ``SystemExit``. If it exists, training resumes from it and ends with the same numbers as
            an uninterrupted training; parameters and windows must be the same. A place where no
            file can be written is an error before the first update; a write that fails later is a
            warning, and training continues.
        checkpoint_minutes : float, default=5.0
            Minutes from one checkpoint to the next. Intervals are longer if writing would take
            more than a twentieth of the time.
        group : "world" or ProcessGroup, default=None
            Processes of an initialised ``torch.distributed`` that train this model together; see
            Notes. None trains alone.
        shared : bool, default=True
            With a `group`: whether windows are the same in all processes. If not, each has its own,
            in `past`, `future` and `validation`.

        Returns
        -------
        Model
            This model.

        Raises
        ------
        ArgumentError, ShapeError, DataError
            If a parameter or the data cannot be used; the model is then unchanged. Memory maps and
            iterables are checked while they are read: a bad window there ends the training, and
            the model keeps the updates made so far.
        OSError
            If the checkpoint cannot be written before training starts.
        BusyError
            If another thread trains this model.
        OutOfMemoryError
            If an update needs more memory than is free; the message says how much.
        DivergedError
            If the loss stops being finite; the weights are those of the last finite update.
        GroupError
            If another process of the group failed or is gone; the model keeps the updates made so
            far, and process 0 has written the checkpoint.
        KeyboardInterrupt
            Ctrl-C stops the training after the present batch; the model keeps its weights. Create
            it first (``model = Model()``), because an interrupted ``model = Model().fit(x)``
            assigns nothing.

        Notes
        -----
        *Missing numbers.* A missing number is replaced by the last known one in its place, or by
        zero before the first (with `scale`, the zero of the scaled numbers), and losses ignore it.
        A window whose past has no known number is refused.

        *Iterables of batches.* A generator, a ``DataLoader`` or any other iterable may be given as
        `past`. Each batch is an array of whole windows or a pair (past, future), and makes one
        update; `batch_size` is then used for inference only. An iterable is started again at the
        end of each pass. An iterator has one pass: if it ends before `max_iter`, training ends
        with a warning. `callback`, `patience`, `checkpoint` and `validation` work as for arrays.

        - `scale` is learnt in a pass of its own before training, which an iterator does not have.
        - `validation` must be windows, not a fraction.
        - A resumed training continues at the batch after the checkpoint. If the iterable has a
          method ``from_batch(k)``, it must return an iterator over the batches of a pass from
          number `k` on, counted from 0; otherwise the first `k` batches are read and dropped. To
          give the numbers of an uninterrupted training, it must yield the same batches again.

        *Several processes.* Every process of the group calls `fit` with the same arguments, on CPUs
        (gloo) or with a GPU each (NCCL; "auto" and "cuda" are then ``cuda:LOCAL_RANK``)::

            # train.py; start it with: torchrun --nproc-per-node 2 train.py
            torch.distributed.init_process_group()
            model = Model(batch_size=1024, random_state=0).fit(windows, group="world")

        - The number of processes changes the time, and the numbers only by the rounding of sums.
          `batch_size` counts the windows of all; each process takes its part of every batch of the
          one seeded order, and all end with the same weights, to the bit.
        - With ``shared=False``, and with iterables of batches, an update is made on the parts or
          batches of all processes together. A process whose iterable ends early waits for the
          others. A list of unequal lengths is padded by process, so that `dropout` then draws other
          numbers than one process would.
        - `callback` may be given in some processes only. Bar and advice come from process 0, which
          alone reads and writes `checkpoint`; another number of processes may resume it.
        - An error, Ctrl-C or True from a callback in one process ends the training in all, after
          the same update. Weights are compared at each record; where processors of several kinds
          have rounded differently, those of process 0 replace the others, with a warning.
        """
        with self._rollback_on_error(group, shared):
            self._fit(past, future, validation, callback, checkpoint, checkpoint_minutes)
        return self

    def partial_fit(
        self, past: Any, future: Any = None, *, group: Any = None, shared: bool = True
    ) -> Self:
        """Train for one pass over these windows, from the present weights.

        Weights and optimizer continue from call to call, the learning rate stays as it is; a model
        that was never fitted starts from new weights.

        Parameters
        ----------
        past, future : array_like, list or iterable, default=None for `future`
            As in `fit`; of an iterable, each batch makes one update.
        group, shared : ProcessGroup or "world", bool, default=None, True
            As in `fit`.

        Returns
        -------
        Model
            This model.

        Raises
        ------
        ArgumentError, ShapeError, DataError, BusyError, DivergedError, GroupError
            As in `fit`, and so is KeyboardInterrupt.
        """
        with self._rollback_on_error(group, shared):
            self._one_pass(past, future)
        return self

    # -- inference ---------------------------------------------------------------------------------

    @overload
    def encode(
        self, past: Windows, *, state: Literal["embedding"] = "embedding"
    ) -> pd.DataFrame: ...
    @overload
    def encode(
        self, past: Any, *, state: Literal["embedding", "full"] = "embedding"
    ) -> NDArray[np.float32]: ...
    def encode(
        self, past: Any, *, state: Literal["embedding", "full"] = "embedding"
    ) -> NDArray[np.float32] | pd.DataFrame:
        """Map each past to its embedding, or to the full state of the encoder.

        Parameters
        ----------
        past : array_like of shape (n_windows, T, *frame_shape), or list of (T_i, *frame_shape)
            Frames, in the units the model was fitted on. All are encoded, so windows of a table
            that have a future give embeddings of both parts, on the time at which the future ends:
            ``model.encode(w.past)`` encodes the pasts, as in training.
        state : {"embedding", "full"}, default="embedding"
            "embedding" is h of the top layer after the last frame, or pooled as the parameter
            `pooling` says; "full" is h of all layers, then c of all layers, as `decode` takes it.

        Returns
        -------
        ndarray of shape (n_windows, hidden_size) or (n_windows, 2 * num_layers * hidden_size)
            float32; every entry of an embedding lies in (-1, 1). Embeddings of
            `backcast.data.Windows` of a table are a DataFrame on their `index`, with the columns
            h0, h1 and so on.

        Raises
        ------
        NotFittedError
            If the model was not fitted.
        ShapeError
            If frames have another shape than those the model was fitted on.
        DataError
            If a number is infinite or out of the range that the model was fitted on, or a past has
            no known number.
        BusyError
            If another thread trains this model.
        """
        if state not in ("embedding", "full"):
            raise ArgumentError(f'state must be "embedding" or "full", got {state!r}')
        with self._reading() as fitted:
            what = "full" if state == "full" else value(self, "pooling")
            column = fitted.past(fitted.pasts("past", past))
            found = fitted.core.encode(column, what, self._inference())
        if state == "full" or not isinstance(past, Windows):
            return found
        return past.table(found, [*self.get_feature_names_out()])

    def decode(
        self, state: ArrayLike, *, steps: int | None = None, decoder: Decoder = "predict"
    ) -> NDArray[Any]:
        """Run a decoder from full states, for example interpolated or edited ones.

        Parameters
        ----------
        state : array_like of shape (n, 2 * num_layers * hidden_size)
            As ``encode(past, state="full")`` gives it.
        steps : int, default=None
            Number of frames; the horizon by default.
        decoder : {"predict", "reconstruct"}, default="predict"
            Which decoder.

        Returns
        -------
        ndarray of shape (n, steps, *frame_shape)
            float32 frames, float64 with `scale`, in the order of time: the `steps` frames after the
            state ("predict") or before it ("reconstruct").

        Raises
        ------
        NotFittedError, DecoderError, ShapeError, ArgumentError
            If the model was not fitted or has no such decoder, `state` does not have that shape, or
            `steps` is below 1.
        """
        with self._reading() as fitted:
            check_decoder(decoder, self.decoders)
            states = state_dict.numbers("state", state)
            width = 2 * self.num_layers * self.hidden_size
            if states.ndim != 2 or states.shape[1] != width:
                raise ShapeError(
                    f"state must be of shape (n, {width}), 2 * num_layers * hidden_size, as "
                    f'encode(past, state="full") gives it, got {states.shape}'
                )
            steps = steps_or_horizon(steps, fitted.horizon)
            frames = fitted.core.decode(states, decoder, steps, self._inference())
            return fitted.frames(frames, decoder)

    @overload
    def reconstruct(self, past: list[pd.DataFrame]) -> list[pd.DataFrame]: ...
    @overload
    def reconstruct(self, past: list[NDArray[Any]]) -> list[NDArray[Any]]: ...
    @overload
    def reconstruct(self, past: Windows) -> pd.DataFrame: ...
    @overload
    def reconstruct(self, past: Any) -> NDArray[Any]: ...
    def reconstruct(self, past: Any) -> Frames | pd.DataFrame | list[pd.DataFrame]:
        """Reconstruct each past from its state.

        Parameters
        ----------
        past : array_like of shape (n_windows, T, *frame_shape), or list of (T_i, *frame_shape)
            Frames, in the units the model was fitted on.

        Returns
        -------
        ndarray of shape (n_windows, T, *frame_shape), or list of (T_i, *frame_shape)
            float32, or float64 with `scale` if the past has more than single precision, in the
            order of the past. For `backcast.data.Windows` of a table, a DataFrame of its columns
            with one row for each window and frame, indexed by group (if there is one), window and
            time. For a list of DataFrames, DataFrames on their indices.

        Raises
        ------
        NotFittedError, DecoderError, ShapeError, DataError
            As in `encode`; also if the model has no reconstruct decoder.
        """
        with self._reading() as fitted:
            check_decoder("reconstruct", self.decoders)
            pasts = fitted.pasts("past", past)
            column = fitted.past(pasts)
            made = fitted.core.generate(column, "reconstruct", None, self._inference())
        if pasts.ragged:
            found = [
                fitted.frames(rows[None, :length], "reconstruct", single=pasts.is_single)[0]
                for rows, length in zip(made, pasts.lengths, strict=True)
            ]
            return found if pasts.columns is None else on_indices(past, found, pasts.columns)
        frames = fitted.frames(made, "reconstruct", single=pasts.is_single)
        return past.table(frames) if isinstance(past, Windows) else frames

    @overload
    def predict(
        self, past: list[pd.DataFrame], *, steps: int | None = None
    ) -> list[pd.DataFrame]: ...
    @overload
    def predict(
        self, past: list[NDArray[Any]], *, steps: int | None = None
    ) -> list[NDArray[Any]]: ...
    @overload
    def predict(self, past: Windows, *, steps: int | None = None) -> pd.DataFrame: ...
    @overload
    def predict(self, past: Any, *, steps: int | None = None) -> NDArray[Any]: ...
    def predict(
        self, past: Any, *, steps: int | None = None
    ) -> Frames | pd.DataFrame | list[pd.DataFrame]:
        """Predict the frames after each past.

        Parameters
        ----------
        past : array_like of shape (n_windows, T, *frame_shape), or list of (T_i, *frame_shape)
            Frames, in the units the model was fitted on.
        steps : int, default=None
            Number of frames, which may exceed the horizon; the horizon by default.

        Returns
        -------
        ndarray of shape (n_windows, steps, *frame_shape), or list of (steps, *frame_shape)
            float32, or float64 with `scale` if the past has more than single precision. For
            `backcast.data.Windows` of a table, a DataFrame of its columns with one row for each
            window and frame, indexed by group (if there is one), window and the time of the frame,
            which may lie beyond the table (see `backcast.data.Windows.after`). For a list of
            DataFrames, DataFrames on the times after each, or on the steps 1, 2, ...

        Raises
        ------
        NotFittedError, DecoderError, ShapeError, DataError, ArgumentError
            As in `encode`; also if the model has no predict decoder or `steps` is below 1.
        """
        with self._reading() as fitted:
            check_decoder("predict", self.decoders)
            pasts = fitted.pasts("past", past)
            steps = steps_or_horizon(steps, fitted.horizon)
            if fitted.horizon and steps > fitted.horizon and not self._warned_horizon:
                self._warned_horizon = True
                warn(
                    f"steps={steps} is beyond the {fitted.horizon} frames that the model was "
                    "fitted to predict; later frames were never trained (this warning comes once)"
                )
            column = fitted.past(pasts)
            frames = fitted.core.generate(column, "predict", steps, self._inference())
        frames = fitted.frames(frames, "predict", single=pasts.is_single)
        if isinstance(past, Windows):
            return past.table(frames, after=True)
        if not pasts.ragged:
            return frames
        if pasts.columns is not None:
            return on_indices(past, [*frames], pasts.columns, after=True)
        return list(frames)

    def trace(self, past: Any, *, steps: int | None = None) -> Trace:
        """Return gates, cells and outputs of every unit at every step of an inference pass.

        Parameters
        ----------
        past : array_like of shape (n_windows, T, *frame_shape), or list of (T_i, *frame_shape)
            Frames, in the units the model was fitted on.
        steps : int, default=None
            Number of steps of the predict decoder; the horizon by default. The reconstruct decoder
            makes as many as there are past frames.

        Returns
        -------
        dict of dict of ndarray
            For "encoder" and each decoder that the model has ("reconstruct", "predict"), in the
            order of their steps: "input_gate", "forget_gate" and "output_gate" (0..1), "candidate"
            (-1..1), "cell" and "hidden" after the step, each float32 of shape
            (n_windows, steps, num_layers, hidden_size); for a list, lists of (steps_i, ...).

        Raises
        ------
        NotFittedError, ShapeError, DataError, ArgumentError
            As in `encode`; also if `steps` is below 1.

        Notes
        -----
        Step 0 of the reconstruct decoder emits the last frame of the past. All numbers are float32
        and held in memory: 24 bytes for each unit, step and window.
        """
        with self._reading() as fitted:
            steps = steps_or_horizon(steps, fitted.horizon) if self._predicts() else 1
            pasts = fitted.pasts("past", past)
            if isinstance(pasts.frames, list):
                # One by one, since sequences of unequal length take unequal numbers of steps.
                each = [self.trace(sequence[np.newaxis], steps=steps) for sequence in pasts.frames]
                return {
                    part: {name: [trace[part][name][0] for trace in each] for name in names}
                    for part, names in each[0].items()
                }
            parts = fitted.core.trace(fitted.past(pasts), steps, self._inference())
        return {
            part: dict(zip(_GATES, np.split(gates, 4, axis=-1), strict=True))
            | {"cell": c, "hidden": h}
            for part, (h, c, gates) in parts.items()
        }

    def transform(self, past: Any) -> Any:
        """Encode all given frames: the name of `encode` in scikit-learn pipelines.

        Parameters
        ----------
        past : array_like or list
            As in `encode`.

        Returns
        -------
        ndarray of shape (n_windows, hidden_size)
            Embeddings, float32, also of windows of a table, as scikit-learn's other transformers
            give them. After ``set_output(transform="pandas")`` a DataFrame; for windows of a table,
            on their index.
        """
        embeddings = self.encode(past)
        wanted = _get_output_config("transform", self)["dense"]
        return np.asarray(embeddings) if wanted != "pandas" else embeddings

    def fit_transform(self, past: Any, y: object = None, **fit_params: Any) -> Any:
        """Fit to whole windows and encode them.

        Parameters
        ----------
        past : array_like or list
            Whole windows, as `fit` takes them in one array.
        y : object, default=None
            Ignored, so that a pipeline may pass labels through.
        **fit_params
            Further arguments of `fit`: a pipeline with the argument ``model__validation`` passes it
            on as ``validation``.

        Returns
        -------
        ndarray of shape (n_windows, hidden_size)
            Embeddings of all frames, float32.
        """
        return self.fit(past, **fit_params).transform(past)

    @overload
    def losses(
        self, past: Any, future: Any = None, *, per: Literal["number", "frame"] = "number"
    ) -> dict[str, float]: ...
    @overload
    def losses(
        self, past: Windows, future: Any = None, *, per: Literal["window"]
    ) -> pd.DataFrame: ...
    @overload
    def losses(
        self, past: Any, future: Any = None, *, per: Literal["window"]
    ) -> dict[str, NDArray[np.float32]]: ...
    def losses(
        self, past: Any, future: Any = None, *, per: Literal["number", "frame", "window"] = "number"
    ) -> dict[str, float] | dict[str, NDArray[np.float32]] | pd.DataFrame:
        """Mean loss of each decoder, run as at inference: its input is its own output or nothing.

        Parameters
        ----------
        past, future : array_like or list, default=None for `future`
            As in `fit`; with one array its last `horizon_` frames are the future, except windows of
            a table that have a future of their own.
        per : {"number", "frame", "window"}, default="number"
            "number" is the mean over numbers, in the units of `loss`; "frame" is the sum over the
            numbers of a frame, as the paper reports it (nats per frame for "bce"). "window" gives
            the mean over the numbers of each window, for example to find unusual ones.

        Returns
        -------
        dict of float, dict of ndarray of shape (n_windows,), or DataFrame
            ``{"reconstruct": ..., "predict": ...}``, for the decoders that the model has. By
            window, float32 arrays, or for `backcast.data.Windows` of a table a DataFrame of these
            columns on their `index`; NaN where no number of the window is known.

        Raises
        ------
        NotFittedError, ShapeError, DataError, ArgumentError
            If the model was not fitted, or the data does not fit it.

        Examples
        --------
        >>> import numpy as np
        >>> from backcast import Model
        >>> waves = np.sin(np.arange(20) / 3 + np.arange(64)[:, None])[..., None]
        >>> model = Model(hidden_size=16, max_iter=50, device="cpu", verbose=0).fit(waves)
        >>> waves[7, 15:] += 3.0
        >>> model.losses(waves, per="window")["predict"].argmax()
        np.int64(7)
        """
        with self._reading() as fitted:
            each = fitted.numbers(per, "window")
            windows = pair_of(past, future, fitted.horizon, predicts=self._predicts())
            fitted.check_frames(*windows)
            columns = fitted.engine_columns(*windows, targets=True)
            if per == "window":
                found = fitted.core.losses_of_windows(*columns, self._inference())
            else:
                losses = fitted.core.losses(*columns, None, self._inference())
        if per != "window":
            return {name: loss * each for name, loss in losses.items()}
        if isinstance(past, Windows):
            return past.table(np.stack([*found.values()], axis=1), [*found])
        return found

    def baselines(
        self, past: Any, future: Any = None, *, per: Literal["number", "frame"] = "number"
    ) -> dict[str, float]:
        """Mean loss of a simple model in place of each decoder, to compare `losses` with.

        Parameters
        ----------
        past, future : array_like or list, default=None for `future`
            As in `losses`; they are read into memory.
        per : {"number", "frame"}, default="number"
            As in `losses`.

        Returns
        -------
        dict of float
            With the keys of `losses`. "reconstruct" is the loss of the mean of each number of a
            frame over all windows and steps, "predict" that of the last value of the past, repeated
            (with ``loss="bce"``, of the mean). A model that has learnt something is below both.

        Raises
        ------
        NotFittedError, ShapeError, DataError, ArgumentError
            As in `losses`.

        Examples
        --------
        >>> import numpy as np
        >>> from backcast import Model
        >>> t = np.arange(20) / 3 + np.random.default_rng(0).uniform(0, 6, size=(64, 1))
        >>> waves = np.sin(t)[..., None]
        >>> model = Model(hidden_size=16, max_iter=300, learning_rate=0.01, random_state=0,
        ...               device="cpu", verbose=0).fit(waves)
        >>> model.losses(waves)["predict"] < 0.2 * model.baselines(waves)["predict"]
        True
        """
        with self._reading() as fitted:
            each = fitted.numbers(per)
            windows = pair_of(past, future, fitted.horizon, predicts=self._predicts())
            fitted.check_frames(*windows)
            losses = self._baselines(windows)
        return {name: loss * each for name, loss in losses.items()}

    def score(self, past: Any, future: Any = None) -> float:
        """Minus the weighted total of `losses`: greater is better.

        Parameters
        ----------
        past, future : array_like or list, default=None for `future`
            As in `losses`.

        Returns
        -------
        float
            At most 0 with "mse" and "bce".
        """
        return -self._total(self.losses(past, future))

    # -- weights and files -------------------------------------------------------------------------

    def state_dict(self) -> dict[str, NDArray[np.float32]]:
        """Weights by the names of the equivalent PyTorch modules.

        Returns
        -------
        dict of ndarray
            ``encoder.lstm.weight_ih_l0`` (4H, D) and so on; copies.
        """
        return self._current().core.weights()

    @classmethod
    def from_state_dict(
        cls, arrays: Mapping[str, Any], frame_shape: tuple[int, ...] | None = None, **params: Any
    ) -> Self:
        """Create a fitted model from given weights.

        Parameters
        ----------
        arrays : mapping of str to array_like
            Weights as `state_dict` names them; CPU or CUDA tensors of torch are accepted. Sizes,
            decoders and unconditional decoders (``feedback="none"``) follow from them.
        frame_shape : tuple of int, default=None
            Shape of one frame; (D,) by default.
        **params
            Parameters of `Model`.

        Returns
        -------
        Model
            Ready for inference and for `partial_fit`.

        Raises
        ------
        ShapeError, ArgumentError
            If names or shapes are not those of a composite LSTM autoencoder, or contradict
            `params`.
        """
        given = state_dict.weights(arrays)
        found = state_dict.sizes(given)
        frame_size = found.pop("frame_size")
        if frame_shape is None:
            frame_shape = (frame_size,)
        if math.prod(frame_shape) != frame_size:
            raise ShapeError(f"frame_shape must hold {frame_size} numbers, got {frame_shape}")
        model = cls(**(found | params))
        if model.scale is not None:
            raise ArgumentError("scale must be None: there are no windows to learn it from")
        model._fitted = model._new(
            model._architecture(frame_size),
            tuple(frame_shape),
            scale=None,
            scaled=None,
            weights=given,
            horizon=value(model, "horizon"),
        )
        return model

    def to_torch(self) -> TorchModel:
        """Convert the model to a plain PyTorch module that computes what inference does.

        Returns
        -------
        torch.nn.Module
            ``forward(past, steps=None)`` takes float frames (n, T, *frame_shape) in the model's
            units and returns a dict: "reconstruct", (n, T, *frame_shape), and "predict",
            (n, steps, *frame_shape), for the decoders that the model has. ``encode(past)`` returns
            embeddings (n, hidden_size). It has copies of the weights, on the CPU in float32;
            ``.to`` moves it.

        Raises
        ------
        NotFittedError
            If the model was not fitted.

        Notes
        -----
        In training mode too, the input of a decoder is its own output or nothing, and no unit is
        dropped. Gradients flow through outputs that are fed back; in `fit` they do not. uint8
        frames are refused: divide them by 255. Missing numbers are not supported. Scaling learnt by
        `scale` is part of the module, but not of its ``state_dict``.

        Names and shapes of its ``state_dict`` are those of `state_dict`, so that `from_state_dict`
        takes weights trained further in PyTorch. ``torch.export.export`` works at a fixed T and
        `steps`, for any n; ``torch.jit.script`` does not.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from backcast import Model
        >>> waves = np.sin(np.arange(20) / 3 + np.arange(64)[:, None])[..., None]
        >>> model = Model(hidden_size=16, max_iter=50, random_state=0, device="cpu", verbose=0)
        >>> module = model.fit(waves).to_torch()
        >>> past = torch.tensor(waves[:, :10], dtype=torch.float32)
        >>> module(past)["predict"].shape
        torch.Size([64, 10, 1])
        >>> again = Model.from_state_dict(module.state_dict(), horizon=10, device="cpu")
        >>> bool((again.predict(past) == model.predict(past)).all())
        True
        """
        from backcast._torch import TorchModel

        with self._reading() as fitted:
            architecture = fitted.architecture, fitted.frame_shape, fitted.horizon
            arrays, pooling = fitted.core.weights(), value(self, "pooling")
        return TorchModel.of(arrays, fitted.scale, *architecture, pooling)

    # -- scikit-learn ------------------------------------------------------------------------------

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Names of the columns of `transform`: h0, h1 and so on.

        Parameters
        ----------
        input_features : object, default=None
            Ignored.

        Returns
        -------
        ndarray of str
            One name for each unit of the embedding.
        """
        self._current()
        return np.array([f"h{i}" for i in range(self.hidden_size)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        """Describe what `fit` accepts: sequences, without labels."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
