"""gRPC's public interop cases with grpcio (the C core) as client: interop.py ADDRESS NAME|- CASE...

NAME: TLS with that server name; roots from GRPC_DEFAULT_SSL_ROOTS_FILE_PATH. One line a case; the first that fails ends
it with status 1. interop_pb2 (protoc --python_out) must be
importable."""
import queue
import sys

import grpc
import interop_pb2 as pb

SERVICE = "/grpc.testing.TestService/"
REQUESTS = (27182, 8, 1828, 45904)
RESPONSES = (31415, 9, 2653, 58979)
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"


def payload(size):
    return pb.Payload(body=b"\0" * size)


def method(channel, kind, name, request, response, service=SERVICE):
    return getattr(channel, kind)(service + name, request_serializer=request.SerializeToString,
                                  response_deserializer=response.FromString)


def unary(channel):
    return method(channel, "unary_unary", "UnaryCall", pb.SimpleRequest, pb.SimpleResponse)


def duplex(channel):
    return method(channel, "stream_stream", "FullDuplexCall", pb.StreamingOutputCallRequest,
                  pb.StreamingOutputCallResponse)


def expect(ok, what):
    if not ok:
        raise AssertionError(what)


def fails_with(code, call):
    try:
        call()
    except grpc.RpcError as error:
        expect(error.code() == code, f"{error.code()}: {error.details()}")
        return error
    raise AssertionError("no error")


class Turns:
    """A request stream that says the next thing when it is told to."""

    def __init__(self, requests):
        self.requests, self.gate = iter(requests), queue.SimpleQueue()

    def __iter__(self):
        for request in self.requests:
            if self.gate.get() is None:
                return
            yield request
        self.gate.get()

    def go(self):
        self.gate.put(True)

    def end(self):
        self.gate.put(None)


def empty_unary(channel):
    method(channel, "unary_unary", "EmptyCall", pb.Empty, pb.Empty)(pb.Empty())


def large_unary(channel, **more):
    answer = unary(channel)(pb.SimpleRequest(response_size=314159, payload=payload(271828)), **more)
    expect(answer.payload.body == b"\0" * 314159, "body")


def large_unary_gzip(channel):
    large_unary(channel, compression=grpc.Compression.Gzip)


def client_streaming(channel):
    call = method(channel, "stream_unary", "StreamingInputCall", pb.StreamingInputCallRequest,
                  pb.StreamingInputCallResponse)
    answer = call(pb.StreamingInputCallRequest(payload=payload(size)) for size in REQUESTS)
    expect(answer.aggregated_payload_size == sum(REQUESTS), answer)


def output_request(size, *responses):
    return pb.StreamingOutputCallRequest(payload=payload(size),
                                         response_parameters=[pb.ResponseParameters(size=n) for n in responses])


def server_streaming(channel):
    call = method(channel, "unary_stream", "StreamingOutputCall", pb.StreamingOutputCallRequest,
                  pb.StreamingOutputCallResponse)
    sizes = [len(answer.payload.body) for answer in call(output_request(0, *RESPONSES))]
    expect(sizes == list(RESPONSES), sizes)


def ping_pong(channel):
    turns = Turns(output_request(request, response) for request, response in zip(REQUESTS, RESPONSES))
    call = duplex(channel)(iter(turns))
    for response in RESPONSES:
        turns.go()
        expect(len(next(call).payload.body) == response, "size")
    turns.end()
    expect(list(call) == [], "more than was asked for")


def empty_stream(channel):
    expect(list(duplex(channel)(iter(()))) == [], "something")


def custom_metadata(channel):
    sent = (("x-grpc-test-echo-initial", "test_initial_metadata_value"), ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"))
    _, call = unary(channel).with_call(pb.SimpleRequest(response_size=1, payload=payload(1)), metadata=sent)
    expect(sent[0] in call.initial_metadata(), call.initial_metadata())
    expect(sent[1] in call.trailing_metadata(), call.trailing_metadata())
    stream = duplex(channel)(iter([output_request(1, 1)]), metadata=sent)
    expect(len(list(stream)) == 1, "one answer")
    expect(sent[0] in stream.initial_metadata() and sent[1] in stream.trailing_metadata(), "metadata of the stream")


def status_code_and_message(channel):
    status = pb.EchoStatus(code=2, message="test status message")
    error = fails_with(grpc.StatusCode.UNKNOWN, lambda: unary(channel)(pb.SimpleRequest(response_status=status)))
    expect(error.details() == status.message, error.details())
    request = pb.StreamingOutputCallRequest(response_status=status)
    error = fails_with(grpc.StatusCode.UNKNOWN, lambda: list(duplex(channel)(iter([request]))))
    expect(error.details() == status.message, error.details())


def special_status_message(channel):
    status = pb.EchoStatus(code=2, message=SPECIAL)
    error = fails_with(grpc.StatusCode.UNKNOWN, lambda: unary(channel)(pb.SimpleRequest(response_status=status)))
    expect(error.details() == SPECIAL, repr(error.details()))


def unimplemented_method(channel):
    call = method(channel, "unary_unary", "UnimplementedCall", pb.Empty, pb.Empty)
    fails_with(grpc.StatusCode.UNIMPLEMENTED, lambda: call(pb.Empty()))


def unimplemented_service(channel):
    call = method(channel, "unary_unary", "UnimplementedCall", pb.Empty, pb.Empty,
                  "/grpc.testing.UnimplementedService/")
    fails_with(grpc.StatusCode.UNIMPLEMENTED, lambda: call(pb.Empty()))


def cancel_after_begin(channel):
    turns = Turns([])
    call = method(channel, "stream_unary", "StreamingInputCall", pb.StreamingInputCallRequest,
                  pb.StreamingInputCallResponse).future(iter(turns))
    call.cancel()
    turns.end()
    expect(call.cancelled() and call.code() == grpc.StatusCode.CANCELLED, call.code())


def cancel_after_first_response(channel):
    turns = Turns([output_request(REQUESTS[0], RESPONSES[0])])
    call = duplex(channel)(iter(turns))
    turns.go()
    expect(len(next(call).payload.body) == RESPONSES[0], "size")
    call.cancel()
    fails_with(grpc.StatusCode.CANCELLED, lambda: next(call))
    turns.end()


def timeout_on_sleeping_server(channel):
    turns = Turns([output_request(27182)])
    call = duplex(channel)(iter(turns), timeout=0.1)
    turns.go()
    fails_with(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: next(call))
    turns.end()


CASES = {name: value for name, value in globals().items() if name.islower() and hasattr(value, "__code__")}


def main(address, name, cases):
    if name == "-":
        channel = grpc.insecure_channel(address)
    else:
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(),
                                      (("grpc.ssl_target_name_override", name),))
    for case in cases:
        try:
            CASES[case](channel)
        except (AssertionError, grpc.RpcError) as error:
            print(case, "failed:", error)
            sys.exit(1)
        print(case, "ok", flush=True)


main(sys.argv[1], sys.argv[2], sys.argv[3:])
