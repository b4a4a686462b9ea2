"""GStreamer's RTSP server, as a source to pull from.

    gst_server.py ADDRESS PORT FILE [tcp|udp|mcast] [basic|digest USER PASSWORD]

`/file` plays an MP4 of H264 and AAC from its beginning for each client; `/live` is a picture and a tone for all
clients together. Prints `ready` when it listens.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

LIVE = (
    "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=176,framerate=25/1 "
    "! jpegenc ! rtpjpegpay name=pay0 "
    "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8 )"
)
LOWER = {
    "tcp": GstRtsp.RTSPLowerTrans.TCP,
    "udp": GstRtsp.RTSPLowerTrans.UDP,
    "mcast": GstRtsp.RTSPLowerTrans.UDP_MCAST,
}


def file(path):
    return (
        f"( filesrc location={path} ! qtdemux name=d "
        "d.video_0 ! queue ! h264parse ! rtph264pay name=pay0 pt=96 "
        "d.audio_0 ! queue ! aacparse ! rtpmp4gpay name=pay1 pt=97 )"
    )


def factory(launch, shared, lower):
    made = GstRtspServer.RTSPMediaFactory()
    made.set_launch(launch)
    made.set_shared(shared)
    made.set_protocols(lower)
    if lower & LOWER["mcast"]:
        pool = GstRtspServer.RTSPAddressPool()
        pool.add_range("239.7.7.1", "239.7.7.9", 5000, 5020, 1)
        made.set_address_pool(pool)
    return made


def lock(server, scheme, user, password):
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if scheme == "basic":
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    server.set_auth(auth)


def permit(made):
    permissions = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", permission, True)
    made.set_permissions(permissions)


def main(address, port, path, lower="all", scheme=None, user=None, password=None):
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(address)
    server.set_service(port)
    allowed = LOWER.get(lower, LOWER["tcp"] | LOWER["udp"])
    mounts = server.get_mount_points()
    for name, launch, shared in (("/file", file(path), False), ("/live", LIVE, True)):
        made = factory(launch, shared, allowed)
        if scheme:
            permit(made)
        mounts.add_factory(name, made)
    if scheme:
        lock(server, scheme, user, password)
    if server.attach(None) == 0:
        sys.exit(f"port {port} cannot be had")
    print("ready", flush=True)
    GLib.MainLoop().run()


main(*sys.argv[1:])
