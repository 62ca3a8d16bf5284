// A name for an app from its image: `ghcr.io/owner/My_App:1.2` → `my-app`. Pure.

export function nameFromImage(image: string): string {
  const last = image.split('/').at(-1) ?? '';
  return last
    .replace(/[:@].*$/, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^[-\d]+|-+$/g, '')
    .slice(0, 50);
}
