// Where the home's devices find Flotilla's own page: a name that is never an app's, and the Node of the member of the
// control plane that leads. Pure.
import type { Node } from '../api/core.ts';

/** What the home calls it. Another device may have the name already: then there is a number behind it. */
export const homePageName = 'flotilla.local';
/** On the Node of the machine whose control plane leads: the port of its page for other devices. */
export const homePageAnnotation = 'flotilla.dev/page-port';

/** Without a port. */
export function isHomePageName(host: string): boolean {
  return /^flotilla(-\d{1,3})?\.local$/i.test(host);
}

/** Undefined: its machine has none. */
export function homePagePort({ metadata }: Node): number | undefined {
  const text = metadata.annotations?.[homePageAnnotation] ?? '';
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port > 0 && port < 65_536 ? port : undefined;
}
