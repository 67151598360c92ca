// gRPC's public interop cases with grpc-js as client: client.js ADDRESS NAME|- CASE...
//
// NAME: TLS with that server name; roots from GRPC_DEFAULT_SSL_ROOTS_FILE_PATH. One line a case; the first that fails
// ends it with status 1. The modules of package-lock.json must be on NODE_PATH.
const assert = require('assert');
const {once} = require('events');
const {grpc, testing, payload} = require('./service.js');

const REQUESTS = [27182, 8, 1828, 45904];
const RESPONSES = [31415, 9, 2653, 58979];
const SPECIAL = '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n';
const [address, name, ...cases] = process.argv.slice(2);
// No service config from DNS (the lab has no name server to wait for), no proxy from the environment.
const OPTIONS = {'grpc.service_config_disable_resolution': 1, 'grpc.enable_http_proxy': 0};

function credentials() {
  return name === '-' ? grpc.credentials.createInsecure() : grpc.credentials.createSsl();
}

function connect(service, more) {
  const override = name === '-' ? {} : {'grpc.ssl_target_name_override': name};
  return new service(address, credentials(), {...OPTIONS, ...override, ...more});
}

// The answer, the head's and the trailers' metadata of a call with one answer; rejects with its error.
function one(client, method, request, metadata = new grpc.Metadata()) {
  return new Promise((resolve, reject) => {
    const seen = {};
    const call = client[method](request, metadata, (error, answer) => {
      if (error) reject(error);
      else seen.answer = answer;
    });
    call.on('metadata', (head) => { seen.head = head; });
    call.on('status', (status) => resolve({...seen, trailers: status.metadata}));
  });
}

// Everything a stream brings until its end; rejects with its error.
async function all(call) {
  const answers = [];
  for await (const answer of call) answers.push(answer);
  return answers;
}

// What comes next of a stream: one message, or its error.
async function next(call) {
  const [answer] = await once(call, 'data');
  return answer;
}

async function failsWith(code, promise) {
  const error = await promise.then(() => assert.fail('no error'), (reason) => reason);
  assert.strictEqual(error.code, code, error.message);
  return error;
}

function outputRequest(size, ...responses) {
  return {payload: payload(size), response_parameters: responses.map((wanted) => ({size: wanted}))};
}

async function largeUnary(client) {
  const {answer} = await one(client, 'unaryCall', {response_size: 314159, payload: payload(271828)});
  assert(answer.payload.body.equals(Buffer.alloc(314159)), 'body');
}

const CASES = {
  async empty_unary(client) {
    const {answer} = await one(client, 'emptyCall', {});
    assert.deepStrictEqual({...answer}, {});
  },

  large_unary: largeUnary,

  async large_unary_gzip() {
    const gzip = connect(testing.TestService,
                         {'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip});
    await largeUnary(gzip);
    gzip.close();
  },

  async client_streaming(client) {
    const answer = await new Promise((resolve, reject) => {
      const call = client.streamingInputCall((error, value) => (error ? reject(error) : resolve(value)));
      for (const size of REQUESTS) call.write({payload: payload(size)});
      call.end();
    });
    assert.strictEqual(answer.aggregated_payload_size, REQUESTS.reduce((sum, size) => sum + size));
  },

  async server_streaming(client) {
    const answers = await all(client.streamingOutputCall(outputRequest(0, ...RESPONSES)));
    assert.deepStrictEqual(answers.map((answer) => answer.payload.body.length), RESPONSES);
  },

  async ping_pong(client) {
    const call = client.fullDuplexCall();
    for (const [index, size] of REQUESTS.entries()) {
      call.write(outputRequest(size, RESPONSES[index]));
      assert.strictEqual((await next(call)).payload.body.length, RESPONSES[index]);
    }
    call.on('data', () => assert.fail('more than was asked for'));
    call.end();
    await once(call, 'end');
  },

  async empty_stream(client) {
    const call = client.fullDuplexCall();
    call.end();
    assert.deepStrictEqual(await all(call), []);
  },

  async custom_metadata(client) {
    const sent = new grpc.Metadata();
    sent.set('x-grpc-test-echo-initial', 'test_initial_metadata_value');
    sent.set('x-grpc-test-echo-trailing-bin', Buffer.from('ababab', 'hex'));
    const echoed = (head, trailers) => {
      for (const [where, key] of [[head, 'x-grpc-test-echo-initial'], [trailers, 'x-grpc-test-echo-trailing-bin']]) {
        assert.deepStrictEqual(where.get(key), sent.get(key));
      }
    };
    const {head, trailers} = await one(client, 'unaryCall', {response_size: 1, payload: payload(1)}, sent);
    echoed(head, trailers);
    const call = client.fullDuplexCall(sent);
    const begun = once(call, 'metadata');
    const ended = once(call, 'status');
    call.end(outputRequest(1, 1));
    assert.strictEqual((await all(call)).length, 1);
    echoed((await begun)[0], (await ended)[0].metadata);
  },

  async status_code_and_message(client) {
    const request = {response_status: {code: 2, message: 'test status message'}};
    const unary = await failsWith(grpc.status.UNKNOWN, one(client, 'unaryCall', request));
    assert.strictEqual(unary.details, 'test status message');
    const call = client.fullDuplexCall();
    call.end(request);
    const stream = await failsWith(grpc.status.UNKNOWN, all(call));
    assert.strictEqual(stream.details, 'test status message');
  },

  async special_status_message(client) {
    const request = {response_status: {code: 2, message: SPECIAL}};
    const error = await failsWith(grpc.status.UNKNOWN, one(client, 'unaryCall', request));
    assert.strictEqual(error.details, SPECIAL);
  },

  async unimplemented_method(client) {
    await failsWith(grpc.status.UNIMPLEMENTED, one(client, 'unimplementedCall', {}));
  },

  async unimplemented_service() {
    const client = connect(testing.UnimplementedService);
    await failsWith(grpc.status.UNIMPLEMENTED, one(client, 'unimplementedCall', {}));
    client.close();
  },

  async cancel_after_begin(client) {
    await failsWith(grpc.status.CANCELLED, new Promise((resolve, reject) => {
      const call = client.streamingInputCall((error, value) => (error ? reject(error) : resolve(value)));
      call.cancel();
    }));
  },

  async cancel_after_first_response(client) {
    const call = client.fullDuplexCall();
    call.write(outputRequest(REQUESTS[0], RESPONSES[0]));
    assert.strictEqual((await next(call)).payload.body.length, RESPONSES[0]);
    call.cancel();
    await failsWith(grpc.status.CANCELLED, next(call));
  },

  async timeout_on_sleeping_server(client) {
    const call = client.fullDuplexCall({deadline: Date.now() + 100});
    call.write({payload: payload(27182)});
    await failsWith(grpc.status.DEADLINE_EXCEEDED, next(call));
  },
};

async function main() {
  const client = connect(testing.TestService);
  for (const one of cases) {
    try {
      await CASES[one](client);
    } catch (error) {
      console.log(one, 'failed:', error.message);
      process.exit(1);
    }
    console.log(one, 'ok');
  }
  // Not by itself: after a cancelled call grpc-js may keep a closed channel's connection open.
  process.exit(0);
}

main();
