// What the processes of the ingress' benchmark agree on.
export const ingressHost = 'app.local';
