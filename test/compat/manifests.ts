// Manifests the tests apply, as a person would write them: no more fields than needed.
import { webImage } from '../setup/images.ts';

export interface WebAppOptions {
  readonly replicas?: number;
  readonly type?: 'ClusterIP' | 'NodePort';
  readonly image?: string;
}

/** A Deployment of the test web server and a Service in front of it, both called `name`. */
export function webApp(name: string, options: WebAppOptions = {}): string {
  const { replicas = 3, type = 'NodePort', image = webImage } = options;
  return `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, labels: { app: ${name} } }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: ${image}
          imagePullPolicy: IfNotPresent
          ports: [{ containerPort: 8080, name: http }]
          readinessProbe:
            httpGet: { path: /, port: http }
            periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec:
  type: ${type}
  selector: { app: ${name} }
  ports: [{ port: 80, targetPort: http }]
`;
}
