"""Whether a window can open here, found out before Qt: where it cannot, Qt ends the whole process."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

OFFSCREEN = ("offscreen", "minimal", "vnc")  # Qt platforms that need no screen
UNSET = "DISPLAY, WAYLAND_DISPLAY unset"
PACKAGES = (
    "libegl1 libgl1 libxkbcommon0 libxkbcommon-x11-0 libdbus-1-3 libfontconfig1 libglib2.0-0 libx11-xcb1 "
    "libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 "
    "libxcb-sync1 libxcb-xfixes0 libxcb-xkb1"
)  # Debian's, for Qt's windows on X11


def obstacle() -> str:
    """Why no window can open on this system, in words; empty if one can.

    Where one of two displays cannot be reached Qt is told to take the other (``QT_QPA_PLATFORM``).
    """
    if sys.platform in ("win32", "darwin"):
        return ""
    asked = os.environ.get("QT_QPA_PLATFORM", "")
    if asked.partition(":")[0] in OFFSCREEN:
        return ""
    displays = {
        "xcb": ("DISPLAY", _reaches_x11),
        "wayland": ("WAYLAND_DISPLAY", _reaches_wayland),
    }
    wanted = [platform for platform, (name, _) in displays.items() if os.environ.get(name)]
    if not wanted:
        return UNSET
    reached = [platform for platform in wanted if displays[platform][1]()]
    if not reached:
        named = " and ".join(f"{displays[each][0]}={os.environ[displays[each][0]]}" for each in wanted)
        return f"{named} cannot be reached"
    if not asked and len(wanted) > len(reached):
        os.environ["QT_QPA_PLATFORM"] = reached[0]
    return ""


def lacking_library() -> str:
    """What keeps Qt's plugin for X11 from being loaded, and the packages that mend it; empty if nothing does.

    To be asked right before Qt is imported: this loads its libraries.
    """
    plugin = _plugins() / "libqxcb.so"
    if (os.environ.get("QT_QPA_PLATFORM") or "xcb").partition(":")[0] != "xcb" or not plugin.is_file():
        return ""
    try:
        ctypes.CDLL(str(plugin))
    except OSError as error:
        return f"{error}; on Debian and Ubuntu: apt install {PACKAGES}"
    return ""


def unknown_platform() -> str:
    """What is wrong with ``QT_QPA_PLATFORM``: none of its names is a platform of this Qt; empty if one is."""
    asked = os.environ.get("QT_QPA_PLATFORM", "")
    names = sorted(path.name[4:-3] for path in _plugins().glob("libq*.so"))
    wanted = [each.partition(":")[0] for each in asked.split(";")]
    if not asked or not names or any(each.startswith(tuple(names)) for each in wanted):
        return ""
    return f"QT_QPA_PLATFORM: got {asked!r}; allowed: {', '.join(names)}"


def _plugins() -> Path:
    found = find_spec("PySide6")
    folder = Path(found.origin).parent if found is not None and found.origin else Path()
    return folder / "Qt" / "plugins" / "platforms"


def _reaches_x11() -> bool:
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return True  # what is lacking is named later
    xcb.xcb_connect.restype = ctypes.c_void_p
    xcb.xcb_connection_has_error.argtypes = xcb.xcb_disconnect.argtypes = [ctypes.c_void_p]
    connection = xcb.xcb_connect(None, None)  # with the user's authority, as Qt does
    wrong = bool(xcb.xcb_connection_has_error(connection))
    xcb.xcb_disconnect(connection)
    return not wrong


def _reaches_wayland() -> bool:
    place = Path(os.environ.get("XDG_RUNTIME_DIR", "")) / os.environ["WAYLAND_DISPLAY"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(place))
        except OSError:
            return False
    return place.is_absolute()
