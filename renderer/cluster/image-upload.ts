// Hands a file of images over to a machine: by the API server to its agent. Of the ways a browser has
// to send a file only this one tells how much has gone.
import { brokenWords, type LoadedImage, loadedImages } from '../state/image-file.ts';

export interface Upload {
  readonly machine: string;
  readonly file: File;
  readonly onSent: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/** Throws a sentence. */
export function uploadImages({
  machine,
  file,
  onSent,
  signal,
}: Upload): Promise<readonly LoadedImage[]> {
  const request = new XMLHttpRequest();
  request.open('POST', `/api/v1/nodes/${encodeURIComponent(machine)}/proxy/images/load`);
  request.setRequestHeader('content-type', 'application/x-tar');
  request.upload.addEventListener('progress', ({ loaded }) => onSent(loaded));
  request.upload.addEventListener('load', () => onSent(file.size));
  signal.addEventListener('abort', () => request.abort());
  return new Promise((resolve, reject) => {
    request.addEventListener('load', () => {
      try {
        resolve(loadedImages(request.responseText));
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
    for (const name of ['error', 'abort'] as const)
      request.addEventListener(name, () => reject(new Error(brokenWords)));
    request.send(file);
  });
}
