import { expect, it } from 'vitest';
import { emptyForm } from './deploy-form.ts';
import { fillIn } from './first-apps.ts';

const nginx = { label: 'A web server', image: 'nginx:alpine', port: 80 };

it('an empty form needs nothing more', () => {
  expect(fillIn(emptyForm(), nginx)).toEqual({
    ...emptyForm(),
    image: 'nginx:alpine',
    name: 'nginx',
    ports: [{ port: 80, isPublished: true, nodePort: undefined }],
  });
});

it('what was entered already stays', () => {
  const ports = [{ port: 8080, isPublished: false, nodePort: undefined }];
  const form = { ...emptyForm(), name: 'mine', ports };
  expect(fillIn(form, nginx)).toEqual({ ...form, image: 'nginx:alpine' });
});
