"""GStreamer's RTSP server, to be measured by the same scenarios.

    gstreamer.py ADDRESS PORT RTP_PORT [FILE]

`/record` takes H.264 of one publisher and throws it away; `/live` is what comes as RTP (H264, payload type 96) to UDP port RTP_PORT, for all viewers together; `/file` plays an MP4
of H264 from where each viewer asks. Prints `ready` when it listens. Debian: python3-gi gir1.2-gst-rtsp-server-1.0
gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def live(port):
    caps = "application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96"
    return (
        f'( udpsrc port={port} buffer-size=8388608 caps="{caps}" ! rtph264depay ! h264parse '
        "! rtph264pay name=pay0 pt=96 mtu=1400 )"
    )


def file(path):
    return f'( filesrc location="{path}" ! qtdemux ! queue ! h264parse ! rtph264pay name=pay0 pt=96 mtu=1400 )'


def main(address, port, rtp_port, path=None):
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(address)
    server.set_service(port)
    server.set_backlog(1024)
    mounts = server.get_mount_points()
    launches = [("/live", live(rtp_port), True)]
    if path:
        launches.append(("/file", file(path), False))
    for name, launch, is_shared in launches:
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(launch)
        factory.set_shared(is_shared)
        mounts.add_factory(name, factory)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch("( rtph264depay name=depay0 ! fakesink sync=false )")
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    mounts.add_factory("/record", factory)
    if server.attach(None) == 0:
        sys.exit(f"port {port} cannot be had")
    print("ready", flush=True)
    GLib.MainLoop().run()


main(*sys.argv[1:])
