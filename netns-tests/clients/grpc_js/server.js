// The interop service served by grpc-js until it is killed: server.js ADDRESS [CERTIFICATE KEY]
//
// Says "ready" when it listens. The modules of package-lock.json must be on NODE_PATH.
const fs = require('fs');
const {grpc, testing, payload} = require('./service.js');

const INITIAL = 'x-grpc-test-echo-initial';
const TRAILING = 'x-grpc-test-echo-trailing-bin';
const [address, certificate, key] = process.argv.slice(2);

function copied(call, name) {
  const metadata = new grpc.Metadata();
  for (const value of call.metadata.get(name)) metadata.add(name, value);
  return metadata;
}

function wanted(request) {
  const {code = 0, message = ''} = request.response_status || {};
  return code === 0 ? null : {code, details: message};
}

function answerParts(call, request) {
  for (const {size} of request.response_parameters) call.write({payload: payload(size)});
}

const SERVICE = {
  EmptyCall(call, respond) {
    call.sendMetadata(copied(call, INITIAL));
    respond(null, {}, copied(call, TRAILING));
  },

  UnaryCall(call, respond) {
    call.sendMetadata(copied(call, INITIAL));
    const error = wanted(call.request);
    if (error) respond(error);
    else respond(null, {payload: payload(call.request.response_size)}, copied(call, TRAILING));
  },

  StreamingInputCall(call, respond) {
    let size = 0;
    call.on('data', (request) => { size += request.payload.body.length; });
    call.on('end', () => respond(null, {aggregated_payload_size: size}));
  },

  StreamingOutputCall(call) {
    answerParts(call, call.request);
    call.end();
  },

  FullDuplexCall(call) {
    call.sendMetadata(copied(call, INITIAL));
    call.on('data', (request) => {
      const error = wanted(request);
      if (error) call.emit('error', error);
      else answerParts(call, request);
    });
    call.on('end', () => call.end(copied(call, TRAILING)));
  },
};

const server = new grpc.Server();
// Without a handler grpc-js answers UNIMPLEMENTED itself.
server.addService(testing.TestService.service, SERVICE);
const credentials = certificate ?
    grpc.ServerCredentials.createSsl(null, [{cert_chain: fs.readFileSync(certificate), private_key: fs.readFileSync(key)}]) :
    grpc.ServerCredentials.createInsecure();
server.bindAsync(address, credentials, (error) => {
  if (error) throw error;
  console.log('ready');
});
