"""A process to attest: connects to the unix socket argv[1], then does what its standard input says, line by line, and
answers each with a line. The identity argv[2] is `uid:gid:group,group`, or `-` for that of the caller."""

import os
import socket
import sys

if sys.argv[2] != "-":
    uid, gid, groups = sys.argv[2].split(":")
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setgid(int(gid))
    os.setuid(int(uid))
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
os.write(1, b"connected\n")
while line := os.read(0, 4096).decode().split():
    match line[0]:
        case "exec":
            os.execv(line[1], line[1:])
        case "setuid":
            os.setuid(int(line[1]))
        case "unlink":
            os.unlink(line[1])
        case "replace":
            os.replace(line[1], line[2])
    os.write(1, b"done\n")
