// Speaks in turns: each piece of the request body waits for the answer to the one before.
//   duplex.js serve            an origin, HTTP/1.1 on 8081, HTTP/2 in clear on 8082
//   duplex.js talk VERSION     three turns with it ("1" or "2"), printed as they come
const http = require('http');
const http2 = require('http2');

function answer(request, response) {
  response.writeHead(200);
  request.on('data', (piece) => response.write(String(piece).toUpperCase()));
  request.on('end', () => response.end());
}

const words = ['one', 'two', 'three'];

// Says the next word at each answer.
function goOn(body, answers) {
  answers.on('data', (piece) => {
    console.log(String(piece));
    if (words.length > 0) body.write(words.shift());
    else body.end();
  });
}

if (process.argv[2] === 'serve') {
  http.createServer(answer).listen(8081);
  http2.createServer(answer).listen(8082);
} else if (process.argv[3] === '1') {
  const request = http.request('http://v4.origin.test:8081/talk', {method: 'POST'});
  request.on('response', (response) => {
    console.log('head', response.statusCode);
    response.on('end', () => console.log('end'));
    goOn(request, response);
  });
  request.write(words.shift());
} else {
  const session = http2.connect('http://v4.origin.test:8082');
  const stream = session.request({':method': 'POST', ':path': '/talk'});
  stream.on('response', (head) => console.log('head', head[':status']));
  stream.on('end', () => { console.log('end'); session.close(); });
  goOn(stream, stream);
  stream.write(words.shift());
}
