// Apps for somebody who wants to see one run, and has none in mind: small, for x86 and ARM, without a
// setting. Pure.
import type { DeployForm } from './deploy-form.ts';
import { nameFromImage } from './image-name.ts';

export interface FirstApp {
  readonly label: string;
  readonly image: string;
  readonly port: number;
}

export const firstApps: readonly FirstApp[] = [
  { label: 'A web server', image: 'nginx:alpine', port: 80 },
  { label: 'A page that tells where it runs', image: 'traefik/whoami', port: 80 },
];

/** Only what is empty is filled in; the first port is opened. */
export function fillIn(form: DeployForm, { image, port }: FirstApp): DeployForm {
  const [first, ...rest] = form.ports;
  const ports =
    first === undefined || first.port === undefined
      ? [{ port, isPublished: true, nodePort: first?.nodePort }, ...rest]
      : form.ports;
  const name = form.name === '' ? nameFromImage(image) : form.name;
  return { ...form, image, name, ports };
}
