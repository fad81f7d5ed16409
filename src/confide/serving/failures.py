"""Why a request is not answered: local kinds of `confide.errors`, each with the HTTP status that tells it."""

from __future__ import annotations

from confide.errors import ConfideError, Conflict, InvalidFormat, Refused, Unavailable


class InvalidRequest(InvalidFormat):
    """A request that is not of the protocol, or tensors that the model does not take; the message names the tensor."""

    public = "invalid request"


class TooLarge(InvalidRequest):
    """A request with more bytes than are taken."""

    http_status = 413


class NotTaken(Refused):
    """A kind of request that the owner's configuration does not allow."""

    public = "not allowed by the owner's configuration"


class NotKnown(Refused):
    """Who asks shows no token of a client that the owner's configuration names."""

    http_status = 401
    public = "a token of a client is needed, and none came that is known"


class UnknownModel(Unavailable):
    """No model of that name and version is loaded."""

    http_status = 404
    public = "no such model"


class Unreachable(Unavailable):
    """Nobody answers there; whether the request was answered is not known."""

    http_status = 503
    public = "nobody answers"


class ModelFailed(ConfideError):
    """The model's runtime failed on a request."""

    public = "the model failed on this request"


class Abandoned(ConfideError):
    """Workers ended with a request of a queue, several times."""

    public = "workers ended over this request, several times; it is not tried again"


class Duplicate(Conflict):
    """A second request under one id that is not the first one again."""

    public = "another request has this id"


class Expired(Unavailable):
    """The time within which an answer was wanted is over."""

    http_status = 504
    public = "deadline exceeded"


class Overloaded(Unavailable):
    """Too much is waiting, or this client asks too often.

    Attributes:
        retry_after_s: when it is worth while to try again.
    """

    http_status = 429
    public = "too many requests"
    retry_after_s = 1.0  # of one that was told by its name

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


_KINDS = (
    ModelFailed,
    InvalidRequest,
    TooLarge,
    NotTaken,
    NotKnown,
    UnknownModel,
    Expired,
    Overloaded,
    Unreachable,
)
_BY_STATUS: dict[int, type[ConfideError]] = {502: Unreachable, **{kind.http_status: kind for kind in _KINDS}}


def of_status(status: int) -> type[ConfideError]:
    """Return the kind of failure that an HTTP status tells."""
    return _BY_STATUS.get(status, Unavailable)
