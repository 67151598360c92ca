// The interop service as grpc-js sees it: what proto-loader makes of ../grpc/interop.proto.
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const definition = loader.loadSync(path.join(__dirname, '../grpc/interop.proto'), {keepCase: true, defaults: true});

exports.grpc = grpc;
exports.testing = grpc.loadPackageDefinition(definition).grpc.testing;
exports.payload = (size) => ({body: Buffer.alloc(size)});
