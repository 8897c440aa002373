"""What can go wrong. Every error of Tilewright is a :class:`TilewrightError`."""

__all__ = [
    "ArenaError",
    "ArgumentError",
    "CollectiveError",
    "DeviceError",
    "InternalError",
    "LaunchError",
    "PaddingError",
    "PlanError",
    "TensorError",
    "TilewrightError",
]


class TilewrightError(Exception):
    """Any error of Tilewright. The words are those of the Rust library."""


class ArgumentError(TilewrightError, ValueError):
    """An argument that is no tensor: a count, a fill, an axis, a device, a stream."""


class PlanError(TilewrightError, ValueError):
    """No plan can be made of a request, or a plan has no such rank."""


class TensorError(TilewrightError, ValueError):
    """A tensor cannot be used: its type, its place, its strides, or that it must not be written."""


class PaddingError(TilewrightError, ValueError):
    """The tensors of a batch cannot be padded as asked for."""


class ArenaError(TilewrightError, RuntimeError):
    """An arena has no buffer to give: its rows are of another size, it is sealed, or the device has no room."""


class LaunchError(TilewrightError, RuntimeError):
    """A launch was refused or failed: shapes that do not fit, tensors that overlap, a compiler that is missing."""


class CollectiveError(TilewrightError, RuntimeError):
    """Ranks did not come together: they asked for different things, or one is late or gone."""


class DeviceError(TilewrightError, RuntimeError):
    """A device is not there, or it failed."""


class InternalError(TilewrightError, RuntimeError):
    """A fault of Tilewright's own, which ended the call and nothing else."""
