// Where the page of trust is.

/** On every host that is served here: no app has it. */
export const trustPath = '/.well-known/flotilla/trust';
/** To be typed by hand, where no app is: at the address of a machine. */
export const shortTrustPath = '/trust';

export function isTrustPath(path: string): boolean {
  return path === trustPath || path.startsWith(`${trustPath}/`);
}
