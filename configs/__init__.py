"""Values only: `configs/<verb>/<name>.yaml`, read by `uel <verb> --config <verb>/<name>`.

A file says only what differs from the defaults of the verb's configuration; `uel <verb> --help` lists them.
"""
