package main

import (
	"slices"
	"testing"
)

func TestOthersProgramsAreBuiltForTheTestsThatNeedThem(t *testing.T) {
	for _, c := range []struct {
		plan behaviourPlan
		want []string
	}{
		{behaviourPlan{when: "change"}, []string{"TestRealAuthorizer"}},
		{behaviourPlan{when: "release"}, []string{"TestRealAuthorizer", "TestRealOAuth2Proxy"}},
		{behaviourPlan{when: "all"}, []string{"TestRealAuthorizer", "TestRealOAuth2Proxy"}},
		{behaviourPlan{when: "dual-stack"}, nil},
		{behaviourPlan{when: "all", run: "TestMeshProbes"}, nil},
		{behaviourPlan{when: "dual-stack", run: "^TestRealOAuth2Proxy$/page"}, []string{"TestRealOAuth2Proxy"}},
		{behaviourPlan{when: "change", run: "TestReal"}, []string{"TestRealAuthorizer", "TestRealOAuth2Proxy"}},
	} {
		var got []string
		for _, it := range peers {
			chosen, err := c.plan.chooses(it)
			if err != nil {
				t.Fatal(err)
			}
			if chosen {
				got = append(got, it.test)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("--when %q --run %q: %q, want %q", c.plan.when, c.plan.run, got, c.want)
		}
	}
	if _, err := (behaviourPlan{run: "("}).chooses(peers[0]); err == nil {
		t.Error("an expression that is none is no error")
	}
}
