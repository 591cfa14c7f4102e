"""RankSEG as MONAI transforms, where `AsDiscrete` and `AsDiscreted` stand in a pipeline."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from ..activations import activate, check_activation
from ..extras import optional_imports
from ..predictor import RankSEG

with optional_imports():
    import torch
    from monai.config import KeysCollection, NdarrayOrTensor
    from monai.data import MetaTensor
    from monai.transforms import MapTransform, Transform
    from monai.utils import TransformBackends, convert_to_dst_type

__all__ = ["AsRankSEG", "AsRankSEGD", "AsRankSEGDict", "AsRankSEGd"]


class AsRankSEG(Transform):
    """Turn the probabilities of one image into labels or masks of best expected Dice or IoU.

    It takes the place of ``AsDiscrete(argmax=True)``, or of ``AsDiscrete(threshold=0.5)`` with
    ``output_mode="multilabel"``: after `sliding_window_inference` and `decollate_batch`.

    Parameters
    ----------
    activation : {"softmax", "sigmoid"}, optional
        What turns the values into probabilities, over the first axis and in float32 or wider. By
        default they are probabilities already.
    **settings
        Arguments of `rankseg.RankSEG`, all but `class_axis`, which is the first of a MONAI image.

    Raises
    ------
    TypeError, ValueError
        As by `rankseg.RankSEG`, and for an unknown `activation`.

    Examples
    --------
    >>> import torch
    >>> from monai.transforms import Compose
    >>> from rankseg.integration.monai import AsRankSEG
    >>> probs = torch.tensor([[[0.4, 0.55, 0.55, 0.9]], [[0.6, 0.45, 0.45, 0.1]]])
    >>> post = Compose([AsRankSEG(metric="dice")])
    >>> post(probs)
    tensor([[[1., 1., 1., 0.]]])
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]  # noqa: RUF012 (MONAI's way)

    def __init__(self, *, activation: str | None = None, **settings: Any) -> None:
        if "class_axis" in settings:
            raise TypeError("class_axis is no option here: classes are the first axis of an image")
        self.activation = check_activation(activation)
        self.segment = RankSEG(**settings)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Segment one image.

        Parameters
        ----------
        img : ndarray, Tensor or MetaTensor, shape (class, *spatial)
            Probabilities, or logits if there is an activation, of a real floating dtype.

        Returns
        -------
        ndarray, Tensor or MetaTensor
            As `img`, with its device, affine and metadata. In float32, like the result of
            `AsDiscrete`: labels of shape (1, *spatial), or masks of ones and zeros of shape
            (class, *spatial).

        Raises
        ------
        TypeError
            If `img` is no such array or has no real floating dtype.
        ValueError
            If `img` has no spatial axis, or for its values as by `rankseg.RankSEG`.
        """
        if not isinstance(img, np.ndarray | torch.Tensor):
            raise TypeError(f"img must be an ndarray or a Tensor, found {type(img).__name__}")
        if img.ndim < 2:
            raise ValueError(f"img must have shape (class, *spatial), found {tuple(img.shape)}")
        values = img.as_tensor() if isinstance(img, MetaTensor) else img
        result = self.segment(activate(values, self.activation, 0)[None])
        if self.segment.output_mode == "multilabel":
            result = result[0]
        # The batch axis of labels stays, as the channel axis that MONAI expects.
        return convert_to_dst_type(result, img, dtype=torch.float32)[0]


class AsRankSEGd(MapTransform):
    """`AsRankSEG` for entries of a dictionary.

    Parameters
    ----------
    keys : hashable or sequence of hashable
        Entries to segment; two heads that need different settings are two transforms.
    allow_missing_keys : bool, default False
        Skip a key that the dictionary does not have.
    **options
        Arguments of `AsRankSEG`.

    Raises
    ------
    TypeError, ValueError
        As by `AsRankSEG`.
    KeyError
        In a call, if a key is missing and `allow_missing_keys` is False.

    Examples
    --------
    >>> import numpy as np
    >>> from rankseg.integration.monai import AsRankSEGd
    >>> logits = np.log([[[0.4, 0.55, 0.55, 0.9]], [[0.6, 0.45, 0.45, 0.1]]])
    >>> AsRankSEGd("pred", metric="dice", activation="softmax")({"pred": logits})["pred"]
    array([[[1., 1., 1., 0.]]], dtype=float32)
    """

    backend = AsRankSEG.backend

    def __init__(
        self, keys: KeysCollection, allow_missing_keys: bool = False, **options: Any
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.converter = AsRankSEG(**options)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Return a copy of the dictionary with the entries segmented."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.converter(result[key])
        return result


AsRankSEGD = AsRankSEGDict = AsRankSEGd
