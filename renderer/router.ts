// Addresses of pages. Those for experts load lazily; the rest is in the first bundle.
import {
  createRouter,
  createWebHistory,
  type RouteLocationRaw,
  type RouteRecordRaw,
  type Router,
} from 'vue-router';
import { nextFrame } from './cluster/frame.ts';
import type { WorkloadKind } from './state/workload.ts';
import HomeView from './views/HomeView.vue';
import AppView from './views/AppView.vue';
import AppsView from './views/AppsView.vue';
import MachineView from './views/MachineView.vue';
import MachinesView from './views/MachinesView.vue';
import NotFoundView from './views/NotFoundView.vue';

/** Call after the sign-in: a router keeps the fragment that it finds, and the token was in it. */
export function createPages(): Router {
  const router = createRouter({
    history: createWebHistory(),
    scrollBehavior: async (to, from, saved) => {
      if (saved === null) return to.path === from.path ? false : { top: 0 };
      await grownTo(saved.top);
      return saved;
    },
    routes: [...pages],
  });
  router.afterEach((to) => {
    const subject = to.params['name'] ?? to.meta['title'];
    document.title = typeof subject === 'string' ? `${subject} · Flotilla` : 'Flotilla';
  });
  return router;
}

const pages: readonly RouteRecordRaw[] = [
  { path: '/', name: 'home', component: HomeView, meta: { title: 'Home' } },
  { path: '/apps', name: 'apps', component: AppsView, meta: { title: 'Apps' } },
  { path: '/apps/:kind/:namespace/:name', name: 'app', component: AppView, props: true },
  { path: '/machines', name: 'machines', component: MachinesView, meta: { title: 'Machines' } },
  { path: '/machines/:name', name: 'machine', component: MachineView, props: true },
  {
    path: '/backup',
    name: 'backup',
    component: () => import('./views/BackupView.vue'),
    meta: { title: 'Backup' },
  },
  {
    path: '/cluster/:group?/:version?/:resource?',
    name: 'cluster',
    component: () => import('./views/ClusterView.vue'),
    props: true,
    meta: { title: 'Cluster' },
  },
  { path: '/:rest(.*)*', component: NotFoundView, meta: { title: 'Not found' } },
];

export function appRoute(app: {
  kind: WorkloadKind;
  namespace: string;
  name: string;
}): RouteLocationRaw {
  const { kind, namespace, name } = app;
  return { name: 'app', params: { kind: kind.toLowerCase(), namespace, name } };
}

export function machineRoute(name: string): RouteLocationRaw {
  return { name: 'machine', params: { name } };
}

const framesMax = 60;

/** Long lists are drawn over several frames: until then there is nothing to scroll back to. */
async function grownTo(top: number): Promise<void> {
  const page = document.documentElement;
  for (let frame = 0; frame < framesMax; frame++) {
    if (page.scrollHeight - page.clientHeight >= top) return;
    await new Promise<void>((resolve) => nextFrame(resolve));
  }
}
