// Starts the page: theme before the first paint, session, cluster, router, root component.
import { createPinia } from 'pinia';
import { createApp } from 'vue';
import './style.css';
import App from './App.vue';
import { clusterKey, createCluster } from './cluster/cluster.ts';
import { signIn, tokenOf } from './cluster/session.ts';
import { createPages } from './router.ts';
import { usePreferences } from './stores/preferences.ts';

const app = createApp(App);
app.use(createPinia());
usePreferences().applyTheme();
const outcome = await signIn(location, history);
app.provide(clusterKey, createCluster(location.origin, location.hostname, outcome));
app.use(createPages());
app.mount('#app');
// The printed address, opened where this page is open already, changes only the fragment.
addEventListener('hashchange', () => {
  if (tokenOf(location.hash) !== undefined) location.reload();
});
