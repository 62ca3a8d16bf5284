// An API server says where it is: to a machine that lost it, because its address is another by now. It is a hint of whoever
// access.ts let in, and no more: who is there proves itself when it is asked.
import type { KubeletRequest, KubeletResponse } from './routes.ts';
import { serversHeard } from '../../api-servers/server-hint.ts';

export function hearApiServer(
  hear: (servers: readonly string[]) => void,
  { method, url, from }: Pick<KubeletRequest, 'method' | 'url' | 'from'>,
): KubeletResponse {
  if (method !== 'PUT') return plain(405, 'method not allowed\n');
  const { searchParams: query } = url;
  const said = { address: query.get('address') ?? undefined, port: query.get('port') ?? '' };
  const servers = serversHeard(said, from);
  if (servers === undefined)
    return plain(400, 'say where the API server is: ?port=7443, and &address= as IPv4\n');
  hear(servers);
  return plain(200, 'ok\n');
}

function plain(status: number, body: string): KubeletResponse {
  return { status, contentType: 'text/plain; charset=utf-8', body };
}
