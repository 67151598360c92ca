// Prints everything Node shows of one answer: status, raw headers, body, raw trailers.
const https = require('https');
https.get(process.argv[2], {agent: false}, (answer) => {
  console.log(answer.httpVersion, answer.statusCode, answer.statusMessage);
  console.log(JSON.stringify(answer.rawHeaders));
  const body = [];
  answer.on('data', (piece) => body.push(piece));
  answer.on('end', () => {
    process.stdout.write(Buffer.concat(body));
    console.log('\n' + JSON.stringify(answer.rawTrailers));
  });
  answer.on('error', (error) => { console.error(error); process.exit(1); });
}).on('error', (error) => { console.error(error); process.exit(1); });
