"""Says what the installed cloud-init makes of user-data: one JSON object a message, from stdin to stdout.

On Debian: apt-get download cloud-init, dpkg-deb -x, and PYTHONPATH; nothing of it has to be installed or run as root.
"""
import base64
import json
import logging
import os
import sys
import tempfile

from cloudinit import handlers, helpers, user_data, version
from cloudinit.handlers.boot_hook import BootHookPartHandler
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
from cloudinit.handlers.jinja_template import JinjaTemplatePartHandler
from cloudinit.handlers.shell_script import ShellScriptPartHandler
from cloudinit.settings import PER_INSTANCE


class Warnings(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


class Source:
    def get_instance_id(self):
        return "i-1"


def read(message, directory, warnings):
    """The parts of a message, after every handler of cloud-init has had them."""
    warnings.texts = []
    paths = helpers.Paths({"cloud_dir": directory + "/c", "run_dir": directory + "/r"}, ds=Source())
    instance = directory + "/c/instances/i-1"
    for name in ("scripts", "handlers", "sem", "data"):
        os.makedirs(instance + "/" + name)
    os.makedirs(directory + "/r")
    with open(directory + "/r/instance-data-sensitive.json", "w") as f:
        f.write('{"v1": {"region": "us-east-1"}}')
    processed = user_data.UserDataProcessor(paths).process(message)
    parts = []
    handlers.walk(processed, lambda _, name, payload, headers: parts.append({
        "type": headers["Content-Type"], "payload": base64.b64encode(payload.encode("utf-8", "surrogateescape")).decode(),
    }), {})
    own = [CloudConfigPartHandler(paths), ShellScriptPartHandler(paths)]
    known = helpers.ContentHandlers()
    for handler in own + [BootHookPartHandler(paths, datasource=Source()), JinjaTemplatePartHandler(paths, sub_handlers=own)]:
        known.register(handler)
    data = {
        "handlers": known, "handlerdir": instance + "/handlers", "data": None, "frequency": PER_INSTANCE, "handlercount": 0,
        "excluded": [],
    }
    sys.path.insert(0, data["handlerdir"])
    for _, handler in known.items():
        handlers.call_begin(handler, None, PER_INSTANCE)
    handlers.walk(processed, handlers.walker_callback, data)
    for _, handler in known.items():
        handlers.call_end(handler, None, PER_INSTANCE)
    sys.path.pop(0)
    return {"parts": parts, "warnings": warnings.texts}


warned = Warnings()
logging.getLogger().addHandler(warned)
results = {}
for title, encoded in json.load(sys.stdin).items():
    with tempfile.TemporaryDirectory() as scratch:
        results[title] = read(base64.b64decode(encoded), scratch, warned)
json.dump({"version": version.version_string(), "results": results}, sys.stdout, indent=1, sort_keys=True)
sys.stdout.write("\n")
