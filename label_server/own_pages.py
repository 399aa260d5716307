"""MONAI Label's web application, closed to the pages of strangers.

MONAI Label answers any web page that is open in the annotator's browser, with the images; its own setting of origins
keeps it from starting (0.8.5). Here a request that names another origin than those in ``LABEL_ORIGINS`` (separated by
spaces) is refused. 3D Slicer and other programs name none.

A page whose own name its maker has made to lead to this machine ("DNS rebinding") names no other origin, but its own
name as the host that it asks: only the names of loopback are answered.
"""

import os

from monailabel.app import app as monailabel_app
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

ORIGINS = os.environ.get("LABEL_ORIGINS", "").split()
HOSTS = ["127.0.0.1", "localhost"]


async def known_origins(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a request on, unless it comes from the page of a stranger."""
    origin = Headers(scope=scope).get("origin") if scope["type"] in ("http", "websocket") else None
    if origin is None or origin in ORIGINS:
        await monailabel_app(scope, receive, send)
        return
    refuse = PlainTextResponse(f"{origin} is not among LABEL_ORIGINS of the server\n", status_code=403)
    await refuse(scope, receive, send)


app = TrustedHostMiddleware(known_origins, allowed_hosts=HOSTS, www_redirect=False)
