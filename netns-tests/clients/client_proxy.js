// GET through the proxy of HTTPS_PROXY or HTTP_PROXY, as Node's agents do it: CONNECT and TLS for https, absolute form
// for http. Prints everything Node shows of the answer: status, raw headers, body, raw trailers.
const http = require('http');
const https = require('https');
const tls = require('tls');

const url = new URL(process.argv[2]);
const proxy = new URL(process.env[url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY']);
const fail = (error) => { console.error(error); process.exit(1); };

function show(answer) {
  console.log(answer.httpVersion, answer.statusCode, answer.statusMessage);
  console.log(JSON.stringify(answer.rawHeaders));
  const body = [];
  answer.on('data', (piece) => body.push(piece));
  answer.on('end', () => {
    process.stdout.write(Buffer.concat(body));
    console.log('\n' + JSON.stringify(answer.rawTrailers));
  });
  answer.on('error', fail);
}

const to_proxy = {host: proxy.hostname, port: proxy.port, agent: false};
if (url.protocol === 'http:') {
  http.get({...to_proxy, path: url.href, headers: {Host: url.host}}, show).on('error', fail);
} else {
  const authority = url.hostname + ':' + (url.port || 443);
  http.request({...to_proxy, method: 'CONNECT', path: authority, headers: {Host: authority}})
      .on('connect', (reply, socket) => {
        if (reply.statusCode !== 200) fail('CONNECT: ' + reply.statusCode);
        const createConnection = () => tls.connect({socket, servername: url.hostname});
        https.get(url, {createConnection}, show).on('error', fail);
      })
      .on('error', fail).end();
}
