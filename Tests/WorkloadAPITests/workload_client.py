"""Asks a Workload API socket everything that py-spiffe can ask, and what reflection says, and prints it as JSON.

With --watch it opens every stream instead, says so in a line, and prints the status that each ends with.

usage: workload_client.py SOCKET [AUDIENCE | --watch]
"""

import json
import sys
import threading

import grpc
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from spiffe import WorkloadApiClient


def first(subscribe):
    """What a stream says first; a subscription calls back on a thread of its own."""
    came = threading.Event()
    got = []

    def keep(value):
        got.append(value)
        came.set()

    handle = subscribe(keep, keep)
    if not came.wait(20):
        raise TimeoutError("the stream says nothing")
    handle.cancel()
    if isinstance(got[0], Exception):
        raise got[0]
    return got[0]


def workload(socket, audience):
    with WorkloadApiClient(socket_path="unix:" + socket) as client:
        context = client.fetch_x509_context()
        streamed = first(
            lambda ok, bad: client.stream_x509_contexts(on_success=ok, on_error=bad)
        )
        bundles = client.fetch_x509_bundles()
        tokens = client.fetch_jwt_svids(audience={audience})
        one = client.fetch_jwt_svid(audience={audience}, subject=tokens[0].spiffe_id)
        sets = client.fetch_jwt_bundles()
        verified = client.validate_jwt_svid(tokens[0].token, audience)
        default = context.default_svid
        domain = default.spiffe_id.trust_domain
        return {
            "svids": [str(svid.spiffe_id) for svid in context.x509_svids],
            "streamed": [str(svid.spiffe_id) for svid in streamed.x509_svids],
            "chain": len(default.cert_chain),
            "serial": format(default.leaf.serial_number, "x"),
            "key_matches": default.private_key.public_key() == default.leaf.public_key(),
            "x509_bundles": sorted(str(bundle.trust_domain) for bundle in bundles.bundles),
            "roots": len(bundles.get_bundle_for_trust_domain(domain).x509_authorities),
            "jwt_svids": [str(svid.spiffe_id) for svid in tokens],
            "one_jwt_svid": str(one.spiffe_id),
            "jwt_bundles": sorted(str(bundle.trust_domain) for bundle in sets.bundles),
            "jwt_keys": len(sets.get_bundle_for_trust_domain(domain).jwt_authorities),
            "validated": str(verified.spiffe_id),
        }


def reflection(socket):
    """What a grpcurl would find, over v1alpha, and the same list over v1."""
    with grpc.insecure_channel("unix:" + socket) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = list(database.get_services())
        pool = descriptor_pool.DescriptorPool(database)
        methods = {
            name: [method.name for method in pool.FindServiceByName(name).methods]
            for name in services
        }
        ask = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest(list_services="*")
        answer = next(iter(ask(iter([request]))))
        return {
            "methods": methods,
            "v1": [service.name for service in answer.list_services_response.service],
        }


SPIFFE_STREAMS = ("FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles")
SECRET_STREAMS = ("StreamSecrets", "DeltaSecrets")


def watch(socket):
    """How every stream ends, after its first message; all of them are on one connection."""
    with grpc.insecure_channel("unix:" + socket) as channel:
        calls = {}
        for name in SPIFFE_STREAMS:
            call = channel.unary_stream("/SpiffeWorkloadAPI/" + name)
            calls[name] = call(b"", metadata=(("workload.spiffe.io", "true"),))
        ended = threading.Event()

        def ask():
            yield b""
            ended.wait()

        for name in SECRET_STREAMS:
            call = channel.stream_stream(
                "/envoy.service.secret.v3.SecretDiscoveryService/" + name
            )
            calls[name] = call(ask())
        for call in calls.values():
            next(call)
        print(json.dumps({"open": len(calls)}), flush=True)
        ends = {}
        for name, call in calls.items():
            try:
                next(call, None)
            except grpc.RpcError:
                pass
            ends[name] = [call.code().name, call.details().split(":")[0]]
        ended.set()
        return ends


def main():
    socket = sys.argv[1]
    if sys.argv[2:] == ["--watch"]:
        print(json.dumps(watch(socket)))
        return
    audience = sys.argv[2] if len(sys.argv) > 2 else "test"
    print(json.dumps({"workload": workload(socket, audience), "reflection": reflection(socket)}))


if __name__ == "__main__":
    main()
