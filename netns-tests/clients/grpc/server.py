"""The interop service served by grpcio (the C core) until it is killed: server.py ADDRESS [CERTIFICATE KEY]

Says "ready" when it listens. interop_pb2 (protoc --python_out) must be importable."""
import pathlib
import sys
from concurrent import futures

import grpc
import interop_pb2 as pb

INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"
CODES = {code.value[0]: code for code in grpc.StatusCode}


def echo_metadata(context):
    came = dict(context.invocation_metadata())
    if INITIAL in came:
        context.send_initial_metadata(((INITIAL, came[INITIAL]),))
    if TRAILING in came:
        context.set_trailing_metadata(((TRAILING, came[TRAILING]),))


def end_as_wanted(request, context):
    if request.response_status.code:
        context.abort(CODES[request.response_status.code], request.response_status.message)


def payload(size):
    return pb.Payload(body=b"\0" * size)


def parts(request):
    for wanted in request.response_parameters:
        yield pb.StreamingOutputCallResponse(payload=payload(wanted.size))


def empty(request, context):
    echo_metadata(context)
    return pb.Empty()


def unary(request, context):
    echo_metadata(context)
    end_as_wanted(request, context)
    return pb.SimpleResponse(payload=payload(request.response_size))


def streaming_input(requests, context):
    return pb.StreamingInputCallResponse(aggregated_payload_size=sum(len(r.payload.body) for r in requests))


def streaming_output(request, context):
    yield from parts(request)


def full_duplex(requests, context):
    echo_metadata(context)
    for request in requests:
        end_as_wanted(request, context)
        yield from parts(request)


def handler(kind, function, request, response):
    make = getattr(grpc, kind + "_rpc_method_handler")
    return make(function, request.FromString, response.SerializeToString)


HANDLERS = {
    "EmptyCall": handler("unary_unary", empty, pb.Empty, pb.Empty),
    "UnaryCall": handler("unary_unary", unary, pb.SimpleRequest, pb.SimpleResponse),
    "StreamingInputCall": handler("stream_unary", streaming_input, pb.StreamingInputCallRequest,
                                  pb.StreamingInputCallResponse),
    "StreamingOutputCall": handler("unary_stream", streaming_output, pb.StreamingOutputCallRequest,
                                   pb.StreamingOutputCallResponse),
    "FullDuplexCall": handler("stream_stream", full_duplex, pb.StreamingOutputCallRequest,
                              pb.StreamingOutputCallResponse),
}


def main(address, *pair):
    # The C core answers UNIMPLEMENTED itself where there is no handler.
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.testing.TestService", HANDLERS),))
    if pair:
        certificate, key = (pathlib.Path(name).read_bytes() for name in pair)
        server.add_secure_port(address, grpc.ssl_server_credentials(((key, certificate),)))
    else:
        server.add_insecure_port(address)
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


main(*sys.argv[1:])
