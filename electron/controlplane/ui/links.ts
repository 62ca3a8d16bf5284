// /flotilla/page-links: POST makes a link by which another device of the home opens the page, DELETE ends the sessions of
// them all. Only administrators are let through by the chain, the page among them.
import { badRequest, methodNotAllowedHere } from '#kube/machinery/status.ts';
import type { ApiHandler } from '../apiserver/http.ts';
import { jsonResponse } from '../apiserver/status-response.ts';
import type { HomePage } from './home-page.ts';

export const pageLinksPath = '/flotilla/page-links';

/** Undefined: this control plane listens on loopback only. */
export function createPageLinks(page: () => HomePage | undefined): ApiHandler {
  return async ({ method }) => {
    const served = page();
    if (served === undefined)
      throw badRequest(
        'Other devices don’t reach this control plane: start it with --bind-address 0.0.0.0, or an address of this computer.',
      );
    if (method === 'DELETE') {
      await served.endSessions();
      return jsonResponse(200, { kind: 'Status', apiVersion: 'v1', status: 'Success' });
    }
    if (method !== 'POST') throw methodNotAllowedHere();
    const link = await served.link();
    if (link === undefined)
      throw badRequest(
        'The page for other devices is not open yet: its port is taken, or the cluster is just being made. The log of the control plane says which.',
      );
    const answer = jsonResponse(201, link);
    return { ...answer, headers: { ...answer.headers, 'cache-control': 'no-store' } };
  };
}
