// What answers before there is an API server to answer.
import { serviceUnavailable } from '#kube/machinery/status.ts';
import type { ApiHandler } from './apiserver/http.ts';

/** Answers 503 from the moment the port is taken until the API server behind it is put together. */
export class LateHandler {
  #handler: ApiHandler = () => Promise.reject(serviceUnavailable(this.#waitsFor));
  #waitsFor = 'the API server is starting';

  /** What is still missing, to be told meanwhile. */
  waitFor(what: string): void {
    this.#waitsFor = what;
  }

  set(handler: ApiHandler): void {
    this.#handler = handler;
  }

  /** What administrators get an answer to meanwhile: who keeps the state, and going on without the others. */
  answerMeanwhile(handler: ApiHandler): void {
    this.#handler = (request) =>
      request.user?.groups.includes('system:masters') === true &&
      request.path.startsWith('/flotilla/')
        ? handler(request)
        : Promise.reject(serviceUnavailable(this.#waitsFor));
  }

  readonly handle: ApiHandler = (request) => this.#handler(request);
}
