"""A camera by GStreamer's RTSP server, run by the system's own Python, which has its bindings:

    /usr/bin/python3 gst_camera.py PORT AUTH USER PASSWORD PIPELINE

AUTH is basic, digest or none. Says "ready" once it listens; a line "WIDTH HEIGHT" on its standard input gives the picture that size.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - the versions are chosen first


def authentication(kind, user, password):
    """Lets nobody describe or play the stream without the password."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
    if kind == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    return auth


def main():
    port, kind, user, password, pipeline = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(pipeline)
    factory.set_shared(True)
    playing = []
    factory.connect("media-configure", lambda _factory, media: playing.append(media.get_element()))
    if kind != "none":
        server.set_auth(authentication(kind, user, password))
        factory.add_role_from_structure(
            Gst.Structure.new_from_string(
                "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
            )
        )
    server.get_mount_points().add_factory("/main", factory)
    if server.attach(None) == 0:
        sys.exit("the port is taken")
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, lambda *_: told(loop, playing))
    print("ready", flush=True)
    loop.run()


def told(loop, playing):
    line = sys.stdin.readline()
    if not line:
        loop.quit()
        return False
    width, height = line.split()
    caps = Gst.Caps.from_string(f"video/x-raw,width={width},height={height},framerate=10/1")
    playing[-1].get_by_name("size").set_property("caps", caps)
    print("done", flush=True)
    return True


main()
