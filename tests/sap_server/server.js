// An SAP system for tests: CAP behind its OData V2 adapter, in memory. `PORT=4004 [PAGE=1000] node server.js`, on 127.0.0.1.
// The gateway's part is here: services under /sap/opu/odata/sap, CSRF tokens that belong to a session cookie.
// POST /test/expire forgets every session, so that the next change is answered 403 `x-csrf-token: Required`.
const { randomBytes } = require('node:crypto');
const { Agent } = require('node:http');
require('node:v8').setFlagsFromString('--min-semi-space-size=32'); // MB: much is made for a request and thrown away
const cds = require('@sap/cds');
const express = require('express');

cds.root = __dirname; // whatever folder we were started in

const ROOT = '/sap/opu/odata/sap';
const sessions = new Map(); // cookie -> token

function csrf(request, response, next) {
  const asked = (request.get('x-csrf-token') ?? '').toLowerCase();
  const cookie = /(?:^|;\s*)SAP_SESSIONID=([^;]+)/.exec(request.get('cookie') ?? '')?.[1];
  if (['GET', 'HEAD'].includes(request.method)) {
    if (asked === 'fetch') {
      const session = sessions.has(cookie) ? cookie : randomBytes(8).toString('hex');
      if (!sessions.has(session)) sessions.set(session, randomBytes(16).toString('base64url'));
      response.set('x-csrf-token', sessions.get(session));
      response.append('Set-Cookie', `SAP_SESSIONID=${session}; path=/; HttpOnly`);
    }
    return next();
  }
  if (cookie && sessions.has(cookie) && sessions.get(cookie) === request.get('x-csrf-token')) return next();
  return response.status(403).set('x-csrf-token', 'Required').type('text').send('CSRF token validation failed');
}

async function main() {
  await cds.plugins;
  if (process.env.PAGE) cds.env.query.limit = { default: Number(process.env.PAGE), max: Number(process.env.PAGE) };
  const app = express();
  app.post('/test/expire', (_, response) => { sessions.clear(); response.status(204).end(); });
  app.use(ROOT, csrf);
  const port = Number(process.env.PORT ?? 4004);
  const listen = app.listen.bind(app);
  app.listen = () => listen(port, '127.0.0.1');
  const v2 = require('@cap-js-community/odata-v2-adapter');
  const options = {
    path: ROOT.slice(1), target: `http://127.0.0.1:${port}`, httpAgent: new Agent({ keepAlive: true }),
    continueOnError: true, // of a $batch, as SAP's gateway: a change set that fails is alone
  };
  cds.on('bootstrap', (served) => served.use(v2(options)));
  const server = await cds.server({ service: 'all', from: 'srv', in_memory: true, app });
  const ready = () => {
    cds.emit('listening', { server, url: `http://127.0.0.1:${port}` }); // the adapter waits for it
    console.log(`ready http://127.0.0.1:${port}${ROOT}`);
  };
  server.listening ? ready() : server.once('listening', ready);
}

main().catch((error) => { console.error(error); process.exit(1); });
